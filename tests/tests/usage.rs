//! What holds for every tool: static, short help, wrong usage told.
#![forbid(unsafe_code)]

use tests::{Run, both};

const TOOLS: [&str; 7] = ["seal", "pseudo", "isolate", "contain", "inject", "netwire", "limit"];

#[test]
fn binaries_are_static() {
    both(|who| {
        for tool in TOOLS {
            let program = who.tool(tool).get_program().to_owned();
            let ran = who.command("ldd").arg(program).ran();
            let said = format!("{}{}", ran.text(), ran.stderr);
            assert!(said.contains("statically linked") || said.contains("not a dynamic executable"), "{tool}: {said}");
        }
    });
}

#[test]
fn help_is_short_and_no_failure() {
    both(|who| {
        for tool in TOOLS {
            let help = who.tool(tool).arg("--help").ran().out();
            assert!(help.contains(&format!("Usage: {tool}")), "{help}");
            assert!(help.lines().count() < 60 && help.lines().all(|line| line.len() <= 120), "{help}");
            assert_eq!(who.tool(tool).arg("--version").ran().out(), format!("{tool} {}", env!("CARGO_PKG_VERSION")));
        }
    });
}

#[test]
fn an_unknown_option_is_named() {
    both(|who| {
        for tool in TOOLS {
            let ran = who.tool(tool).arg("--no-such-option").ran();
            let said = ran.fails(125);
            assert!(said.starts_with(&format!("{tool}: ")) && said.contains("--no-such-option"), "{said}");
            assert_eq!(ran.text(), "");
        }
    });
}

#[test]
fn options_after_the_command_are_its_own() {
    both(|who| {
        for tool in ["seal", "pseudo", "isolate", "limit"] {
            assert_eq!(who.tool(tool).args(["echo", "--help", "-u"]).ran().out(), "--help -u", "{tool}");
            assert_eq!(who.tool(tool).args(["--", "echo", "--", "x"]).ran().out(), "-- x", "{tool}");
        }
    });
}

#[test]
fn missing_operands_are_wrong_usage() {
    both(|who| {
        for tool in ["seal", "contain", "netwire", "limit"] {
            assert!(who.tool(tool).ran().fails(125).starts_with(&format!("{tool}: ")));
        }
    });
}
