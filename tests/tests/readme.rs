//! What the README shows is what happens.
#![forbid(unsafe_code)]

use std::path::Path;

use tests::cgroups::Place;
use tests::{Run, both};

/// The commands of the README's consoles and what each is shown to write.
fn examples() -> Vec<(String, String)> {
    let readme = include_str!("../../README.md");
    let mut examples: Vec<(String, String)> = Vec::new();
    let mut in_console = false;
    for line in readme.lines() {
        match (line, in_console) {
            ("```console", _) => in_console = true,
            ("```", _) => in_console = false,
            (line, true) => match (line.strip_prefix("$ "), line.strip_prefix("> "), examples.last_mut()) {
                (Some(command), ..) => examples.push((command.to_owned(), String::new())),
                (_, Some(more), Some((command, _))) => *command += &format!("\n{more}"),
                (.., Some((_, shown))) => *shown += &format!("{line}\n"),
                (.., None) => panic!("a console starts with output: {line}"),
            },
            _ => {}
        }
    }
    examples
}

#[test]
fn the_examples_do_what_they_show() {
    let examples = examples();
    assert!(examples.len() > 10);
    let mut script = "export LC_ALL=C.UTF-8; exec 2>&1\n".to_owned();
    for (command, _) in &examples {
        // $? is for the next command to see.
        script += &format!("{command}\nstatus=$?; echo \"\"; echo '--- end'; (exit $status)\n");
    }
    both(|who| {
        let dir = who.dir();
        let recipes = concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes");
        // The test is root; he may not be able to read where this was checked out.
        let copied = std::process::Command::new("cp").args(["-r", recipes]).arg(&*dir).status();
        assert!(copied.is_ok_and(|status| status.success()));
        // What limits is made in cgroups of his own.
        let place = Place::new(who, Path::new(env!("CARGO_BIN_EXE_hog")));
        let ran = place.command(&["sh", "-c", &script]).current_dir(&*dir).ran();
        let text = String::from_utf8_lossy(&ran.stdout);
        let mut parts = text.split("\n--- end\n");
        for (command, shown) in &examples {
            let wrote = parts.next().unwrap_or_else(|| panic!("{command} did not run: {ran:#?}"));
            assert_eq!(wrote, shown, "{command}\n{}", ran.text());
        }
    });
}

#[test]
fn each_tool_has_one() {
    let examples = examples();
    for tool in ["seal", "pseudo", "isolate", "contain", "inject", "netwire", "limit"] {
        assert!(
            examples.iter().any(|(command, _)| command.lines().any(|line| line.starts_with(&format!("{tool} ")))),
            "{tool}"
        );
    }
}
