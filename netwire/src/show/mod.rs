//! What is wired to what: as a tree, as JSON, as a picture.

mod dot;
pub mod find;
mod frame;
mod json;
mod layout;
mod survey;
mod svg;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod wires;

use std::ffi::OsString;

use seal::Error;

use survey::Survey;

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Plain text.
    Tree,
    /// An array of namespaces.
    Json,
    /// For Graphviz.
    Dot,
    /// A picture.
    Svg,
}

/// Shows these namespaces and those that they are wired to; where none is
/// named, all that can be found.
pub fn show(targets: &[OsString], form: Form) -> Result<String, Error> {
    let survey = Survey::take(targets)?;
    Ok(match form {
        Form::Tree => tree::render(&survey.for_people(), locale_is_utf8()),
        Form::Json => json::render(&survey),
        Form::Dot => dot::render(&survey.for_people()),
        Form::Svg => svg::render(&survey.for_people()),
    })
}

/// What locale(7) says that the terminal shows.
fn locale_is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    set.is_some_and(|value| {
        let value = value.to_string_lossy().to_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    })
}
