//! Wire network namespaces together.
//!
//! ```no_run
//! // `netwire bridge br0 10.0.0.254/24`
//! let words = ["bridge", "br0", "10.0.0.254/24"].map(Into::into).to_vec();
//! assert_eq!(netwire::run(words).unwrap(), 0);
//! ```
//!
//! What is declared becomes steps (`plan`), none for what is there already, and
//! they are carried out together or not at all (`run`).

mod bridge;
mod commands;
mod commit;
mod declaration;
mod edit;
mod filter;
mod link;
mod links;
mod net;
mod netns;
mod options;
mod plan;
mod policy;
mod request;
mod run;
mod show;
mod socket;
mod step;
mod subnet;
mod sys;
mod topology;
mod words;
mod world;

use std::ffi::{OsStr, OsString};

use seal::{Error, cli};

use options::Called;
use plan::{Item, plan};
use world::World;

/// Does what these words, which do not have the name of the program, ask for.
pub fn run(words: Vec<OsString>) -> Result<u8, Error> {
    match options::parse(words)? {
        Called::Declare(declaration) => {
            make_so(&[Item { line: None, declaration }], true, false, None)?;
        }
        Called::Apply { file, dry_run } => make_so(&topology::read(&file)?, false, dry_run, Some(&file))?,
        Called::Show { targets, form } => cli::print(show::show(&targets, form)?.as_bytes())?,
    }
    Ok(0)
}

fn make_so(items: &[Item], strict: bool, dry_run: bool, file: Option<&OsStr>) -> Result<(), Error> {
    let told = |(line, error): plan::Failure| match (file, line) {
        (Some(file), Some(line)) => error.at(&topology::place(file, line)),
        _ => error,
    };
    let mut world = World::new(!dry_run)?;
    let steps = plan(&mut world, items, strict).map_err(told)?;
    if dry_run {
        let lines = steps.iter().map(|step| step.says.as_str()).filter(|says| !says.is_empty());
        return cli::print(lines.map(|line| format!("{line}\n")).collect::<String>().as_bytes());
    }
    run::carry_out(&mut world, &steps).map_err(told)
}
