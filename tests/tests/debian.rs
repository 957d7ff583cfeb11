//! Everyday work in a Debian root.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use tests::{Run, Terminal, Who, both, mark};

/// A shell script in the caller's Debian; its changes vanish, since all tests share the tree.
fn debian(who: &Who, script: &str) -> Command {
    who.contain(who.debian(), &["-e"], script)
}

#[test]
fn it_is_debian_with_its_owners() {
    both(|who| {
        let script = "grep ^ID= /etc/os-release; id -u; stat -c %U:%G /etc/shadow /var/mail /usr/bin/passwd; stat -c %a /usr/bin/passwd";
        assert_eq!(debian(who, script).ran().out(), "ID=debian\n0\nroot:shadow\nroot:mail\nroot:root\n4755");
    });
}

#[test]
fn a_writable_tree_takes_changes_of_every_owner() {
    both(|who| {
        let root = who.debian();
        let name = mark();
        let script = format!("cd /var/tmp && touch {name} && chown www-data:mail {name} && stat -c %U:%G {name}");
        assert_eq!(who.contain(&root, &[], &script).ran().out(), "www-data:mail");
        let file = root.join("var/tmp").join(name);
        let expected = if who.is_root() { 33 } else { who.first_subuid() + 32 };
        assert_eq!(fs::metadata(&file).unwrap().uid(), expected);
        fs::remove_file(file).unwrap();
    });
}

#[test]
fn users_are_made_and_become() {
    both(|who| {
        let script = "useradd -m -s /bin/bash worker && su worker -c 'id -un; cd; pwd; touch mine; stat -c %U mine'
            su - worker -c 'echo $HOME $USER; cat /etc/shadow 2>&1 | head -n 1; kill -0 1 2>&1 | head -n 1'
            echo worker:secret | chpasswd && grep -c '^worker:[$]' /etc/shadow; userdel -r worker 2>/dev/null; id worker 2>&1";
        let ran = debian(who, script).ran();
        let text = ran.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..4], ["worker", "/home/worker", "worker", "/home/worker worker"], "{ran:#?}");
        assert_eq!(lines[4], "cat: /etc/shadow: Permission denied");
        assert!(lines[5].ends_with("Operation not permitted"), "{text}");
        assert_eq!(lines[6..], ["1", "id: 'worker': no such user"]);
    });
}

#[test]
fn set_uid_programs_of_its_own_work() {
    both(|who| {
        // -p: bash would give the id back. passwd(1) can read what its caller cannot.
        let script = "cp /bin/bash /usr/local/bin/suid && chmod 4755 /usr/local/bin/suid
            useradd worker && echo worker:secret | chpasswd && su worker -c '/usr/local/bin/suid -p -c \"id -u; id -ru\"; passwd -S'";
        let ran = debian(who, script).ran();
        let text = ran.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "0", "{ran:#?}");
        assert_ne!(lines[1], "0");
        assert!(lines[2].starts_with("worker P "), "{text}");
    });
}

#[test]
fn packages_are_unpacked_and_configured() {
    both(|who| {
        let script = "cd /tmp && mkdir -p p/DEBIAN p/opt/sample && echo content >p/opt/sample/file && chown daemon:mail p/opt/sample/file
            printf 'Package: sample\\nVersion: 1\\nArchitecture: all\\nMaintainer: n <n@example.org>\\nDescription: s\\n' >p/DEBIAN/control
            printf '#!/bin/sh\\nchown games /opt/sample\\n' >p/DEBIAN/postinst && chmod 755 p/DEBIAN/postinst
            dpkg-deb -b p sample.deb >/dev/null && dpkg -i sample.deb >/dev/null 2>&1
            dpkg-query -W sample; stat -c %U:%G /opt/sample /opt/sample/file; dpkg -P sample >/dev/null 2>&1; ls /opt";
        assert_eq!(debian(who, script).ran().text(), "sample\t1\ngames:root\ndaemon:mail");
    });
}

#[test]
fn jobs_in_the_background() {
    both(|who| {
        let script = "sleep 1000 & a=$!; (exit 3) & b=$!; wait $b; echo $?; kill $a; wait $a; echo $?; echo end";
        assert_eq!(debian(who, script).ran().text(), "3\n143\nend");
    });
}

#[test]
fn bash_at_a_terminal() {
    both(|who| {
        let mut terminal = Terminal::new(who);
        let mut command = who.tool("contain");
        command.arg("-e").arg(who.debian()).args(["bash", "--norc", "-i"]);
        let mut running = terminal.run(who, &command);
        terminal.write("PS1='> '; tty\r");
        terminal.expect("/dev/pts/0\r\n");
        terminal.expect("> ");
        // Readline has given the terminal back when a command speaks.
        terminal.write("echo go; cat\r");
        terminal.expect("\rgo\r\n");
        terminal.write("line\r");
        terminal.expect("line\r\nline\r\n");
        terminal.write("\x1a");
        terminal.expect("Stopped");
        terminal.expect("> ");
        terminal.write("kill %1; wait %1; echo status $?\r");
        terminal.expect("status 1");
        terminal.expect("> ");
        terminal.write("exit 5\r");
        assert_eq!(running.end(), 5);
        assert!(terminal.is_cooked());
    });
}

#[test]
fn a_pipeline_through_it() {
    both(|who| {
        let bytes = tests::noise(1 << 20);
        let ran = debian(who, "gzip -c | gunzip").ran_with(&bytes);
        assert!(ran.stdout == bytes, "{} bytes", ran.stdout.len());
    });
}
