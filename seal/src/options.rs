//! The options that take rights away, one group for every tool that has them.

use crate::getopt::{Argument, Opt};

use Argument::{No, Required};

/// The options, for every tool that has them.
pub const OPTIONS: &[Opt] = &[
    Opt::newer(' ', "binary", No, "Run CMD from a memfd sealed against writing, shrinking and growing")
        .docs("What seal does without any option. The copy is nobody's set-uid program, and has no file capabilities."),
    Opt::newer(' ', "caps", Required("LIST"), "Leave CMD exactly these capabilities: none, all, +NAME, -NAME").docs(
        "In the bounding, permitted, effective, inheritable and ambient set, whatever uid CMD has. A list starts \
             from none, or from all where it drops first; all are those that you have. Who lacks CAP_SETPCAP keeps \
             the bounding set, which no_new_privs puts out of reach.",
    ),
    Opt::newer(' ', "securebits", Required("LIST"), "Set these securebits: noroot, noroot-locked, no-setuid-fixup, …"),
    Opt::newer(' ', "syscalls", Required("FILE"), "Filter system calls by a policy in Kafel or a profile in JSON")
        .docs(
            "FILE may be -. JSON is that of Docker and Podman, read for the capabilities that CMD will have: without \
         --caps none it lets root do more. In Kafel KILL and DENY end the thread alone, KILL_PROCESS all of it, and a \
         policy without DEFAULT kills; a file is included from beside the one that names it. Several filters hold all at once. Calls of 32-bit programs and of x32 \
         kill the process, whatever the policy says. USER_NOTIF fails with ENOSYS, as there is no supervisor. TRACE is \
         no refusal: CMD may trace its own children.",
        ),
    Opt::newer(' ', "syscalls-string", Required("KAFEL"), "Likewise by the policy itself"),
    Opt::newer(' ', "bpf", Required("FD"), "Load the ready program that can be read from this fd")
        .docs("It alone decides what becomes of 32-bit programs and of x32, and what it leaves to a supervisor \
             (USER_NOTIF) CMD can make itself the supervisor of."),
    Opt::newer(' ', "allow-syscalls", Required("A,B,…"), "Refuse all other system calls (EPERM)"),
    Opt::newer(' ', "deny-syscalls", Required("A,B,…"), "Refuse these system calls (EPERM)"),
    Opt::newer(' ', "syscalls-log", No, "Log what the filter refuses")
        .docs("In the kernel's log or by auditd, for the actions in /proc/sys/kernel/seccomp/actions_logged."),
    Opt::newer(' ', "explain", No, "Show what the filter does with each system call, and end"),
    Opt::newer(' ', "emit-bpf", Required("FILE"), "Write the filter's program, - for stdout")
        .docs("With seal CMD may be left out."),
    Opt::newer(' ', "learn", Required("FILE"), "Write a policy that allows what CMD and its children use").docs(
        "To a FILE that is there it adds, before all else that it says: what CMD uses only now and then takes a second run. It ends when the \
             last process that CMD has started does. Calls of 32-bit programs and of x32 kill the process. \
             With contain the PID of the container is in inject --list, not that of the process that was started.",
    ),
    Opt::newer(' ', "files", Required("ro|rw|rx:PATH"), "Refuse all files but these, to read, write or execute")
        .docs(
            "By Landlock, of version 3; rwx is for all three, none for no file at all. What is open already stays so, \
             and Landlock refuses no look at modes and owners, no change of \
             them, and no connection to a unix socket by its path. A dynamic program needs rx of itself and \
             of its libraries; most want /dev/null and /proc.",
        ),
    Opt::newer(' ', "ports", Required("bind|connect:N"), "Refuse all TCP ports but these").docs(
        "By Landlock, of version 4, and a filter that refuses the ways around it: MPTCP, SMC, TCP Fast Open and \
             io_uring. Who listens without binding gets a free port from the kernel. UDP is not affected. None as \
             \"none\".",
    ),
    Opt::newer(' ', "scope", Required("signal,unix"), "Refuse signals, abstract unix sockets to the outside")
        .docs("By Landlock, of version 6: the processes that CMD did not start, which it may then not trace either, and \
             sockets without a path."),
    Opt::newer(' ', "no-new-privs", No, "Set no_new_privs; implied where CMD's rights are limited")
        .docs("By every option but --binary, --fds, --parent-death, --umask and --personality."),
    Opt::newer(' ', "no-userns", No, "Refuse to make or enter user namespaces")
        .docs("clone3(2) is said not to exist, and setns(2) has to name a kind of namespace."),
    Opt::newer(' ', "no-tty-input", No, "Refuse to type into the terminal (TIOCSTI, TIOCLINUX)"),
    Opt::newer(' ', "dumpable", Required("no"), "Nobody may trace CMD or look into it; implies --binary")
        .docs("CMD itself, which cannot change that (prctl) but by executing a program, and no script."),
    Opt::newer(' ', "fds", Required("0,1,2,…"), "Leave CMD these fds alone, or none")
        .docs("A script that is run from memory keeps one more, which its interpreter reads."),
    Opt::newer(' ', "parent-death", Required("SIGNAL"), "Send CMD this signal when its parent ends"),
    Opt::newer(' ', "umask", Required("OCTAL"), "Set the umask"),
    Opt::newer(' ', "personality", Required("LIST"), "Set the execution domain: addr-no-randomize, linux32, …, 0xN"),
    Opt::newer(' ', "as", Required("USER[:GROUP]"), "Run CMD as this user, with the capabilities of --caps alone")
        .docs(
            "Names or ids, looked up in /etc/passwd and /etc/group, as are the supplementary groups. Paths of --files \
             are opened as that user. contain sets HOME, unless --env or --keep-env does.",
        ),
];

/// What other tools' `--help` says of them, and they themselves.
pub const GROUP: (&str, &[Opt]) =
    ("What CMD may do, last of all before it starts; seal --help and --man say more:", OPTIONS);
