//! The options that take rights away, one group for every tool that has them.

use crate::getopt::{Argument, Opt};

use Argument::{No, Required};

/// The options, for every tool that has them.
pub const OPTIONS: &[Opt] = &[
    Opt::new(' ', "binary", No, "Run CMD from a memfd sealed against writing, shrinking and growing")
        .docs("The default of seal. The copy is nobody's set-uid program, and has no file capabilities."),
    Opt::new(' ', "caps", Required("LIST"), "Leave CMD exactly these capabilities: none, all, +NAME, -NAME").docs(
        "In the bounding, permitted, effective, inheritable and ambient set, whatever uid CMD has. A list starts \
             from none, or from all where it drops first; all are those that you have. Who lacks CAP_SETPCAP keeps \
             the bounding set, which no_new_privs puts out of reach.",
    ),
    Opt::new(' ', "securebits", Required("LIST"), "Set these securebits: noroot, noroot-locked, no-setuid-fixup, …"),
    Opt::new(' ', "syscalls", Required("FILE"), "Filter system calls by a policy in Kafel or a profile in JSON").docs(
        "JSON is that of Docker and Podman. Several filters hold all at once. Calls of 32-bit programs and of x32 \
         kill the process, whatever the filter. Without a supervisor and a tracer USER_NOTIF and TRACE fail with \
         ENOSYS.",
    ),
    Opt::new(' ', "syscalls-string", Required("KAFEL"), "Likewise by the policy itself"),
    Opt::new(' ', "bpf", Required("FD"), "Load the ready program that can be read from this fd"),
    Opt::new(' ', "allow-syscalls", Required("A,B,…"), "Refuse all other system calls (EPERM)"),
    Opt::new(' ', "deny-syscalls", Required("A,B,…"), "Refuse these system calls (EPERM)"),
    Opt::new(' ', "syscalls-log", No, "Log what the filter refuses")
        .docs("In the kernel's log or by auditd, for the actions in /proc/sys/kernel/seccomp/actions_logged."),
    Opt::new(' ', "explain", No, "Show what the filter does with each system call, and end"),
    Opt::new(' ', "emit-bpf", Required("FILE"), "Write the filter's program, - for stdout; CMD may be left out"),
    Opt::new(' ', "learn", Required("FILE"), "Write a policy that allows what CMD and its children use")
        .docs("What FILE allows already stays. It ends when the last process that CMD has started does."),
    Opt::new(' ', "files", Required("ro|rw|rx:PATH"), "Refuse all files but these, to read, to write, to execute")
        .docs(
            "By Landlock, of version 3; rw is not to execute, name a path twice for both. None as \"none\". What is \
             open already stays so.",
        ),
    Opt::new(' ', "ports", Required("bind|connect:N"), "Refuse all TCP ports but these").docs(
        "By Landlock, of version 4, and a filter that refuses the ways around it: MPTCP, SMC, TCP Fast Open and \
             io_uring. Who listens without binding gets a free port from the kernel. UDP is not affected. None as \
             \"none\".",
    ),
    Opt::new(' ', "scope", Required("signal,unix"), "Refuse signals, abstract unix sockets to the outside")
        .docs("By Landlock, of version 6."),
    Opt::new(' ', "no-new-privs", No, "Set no_new_privs; implied by all of the above but --binary"),
    Opt::new(' ', "no-userns", No, "Refuse further user namespaces"),
    Opt::new(' ', "no-tty-input", No, "Refuse to type into the terminal (TIOCSTI, TIOCLINUX)"),
    Opt::new(' ', "dumpable", Required("no"), "Nobody may trace CMD or look into it; implies --binary")
        .docs("CMD itself: a program that it starts in its place is dumpable again."),
    Opt::new(' ', "fds", Required("0,1,2,…"), "Leave CMD these fds alone"),
    Opt::new(' ', "parent-death", Required("SIGNAL"), "Send CMD this signal when its parent ends"),
    Opt::new(' ', "umask", Required("OCTAL"), "Set the umask"),
    Opt::new(' ', "personality", Required("LIST"), "Set the execution domain: addr-no-randomize, linux32, …, 0xN"),
    Opt::new(' ', "as", Required("USER[:GROUP]"), "Run CMD as this user, with the capabilities of --caps alone")
        .docs("Names or ids, looked up in /etc/passwd and /etc/group, as are the supplementary groups."),
];
