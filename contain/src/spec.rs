//! What `--bind`, `--bind-ro` and `--tmpfs` ask for.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, PathBuf};

use rustix::mount::MountAttrFlags;
use seal::Error;

/// A mount that was asked for.
#[derive(Debug)]
pub struct Spec {
    /// Where from.
    pub source: Source,
    /// Where to: absolute, without `..`.
    pub dest: PathBuf,
    /// Mount attributes besides the source's own.
    pub attributes: MountAttrFlags,
    /// Whether a bind may be idmapped to show the ids that stand on disk.
    pub idmap: bool,
}

/// What is mounted.
#[derive(Debug)]
pub enum Source {
    /// A file or a tree of the host.
    Bind(PathBuf),
    /// A new tmpfs with these options, `KEY=VALUE` each.
    Tmpfs(Vec<String>),
}

impl Spec {
    /// Parses `SRC[:DEST[:OPTS]]`.
    pub fn bind(text: &OsStr, read_only: bool) -> Result<Self, Error> {
        let mut fields = fields(text);
        let source = PathBuf::from(fields.next().unwrap_or_default());
        let dest = fields.next().map_or_else(|| source.clone(), PathBuf::from);
        let mut spec = Self {
            source: Source::Bind(source),
            dest: checked(dest, text)?,
            attributes: MountAttrFlags::MOUNT_ATTR_NODEV,
            idmap: true,
        };
        for option in options(fields.next()) {
            match option.to_str() {
                Some("no-idmap") => spec.idmap = false,
                Some("dev") => spec.attributes -= MountAttrFlags::MOUNT_ATTR_NODEV,
                _ if spec.attribute(&option) => {}
                _ => return Err(unknown(text, &option, "ro, rw, nosuid, nodev, dev, noexec, no-idmap")),
            }
        }
        if read_only {
            spec.attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        nothing_left(text, fields)?;
        Ok(spec)
    }

    /// Parses `DEST[:OPTS]`.
    pub fn tmpfs(text: &OsStr) -> Result<Self, Error> {
        let mut fields = fields(text);
        let dest = checked(PathBuf::from(fields.next().unwrap_or_default()), text)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let mut spec = Self { source: Source::Tmpfs(Vec::new()), dest, attributes, idmap: false };
        let mut data = Vec::new();
        for option in options(fields.next()) {
            match option.to_str() {
                Some(pair) if ["size=", "mode=", "nr_inodes="].iter().any(|key| pair.starts_with(key)) => {
                    data.push(pair.to_owned());
                }
                Some("suid") => spec.attributes -= MountAttrFlags::MOUNT_ATTR_NOSUID,
                _ if spec.attribute(&option) => {}
                _ => {
                    let known = "size=, mode=, nr_inodes=, ro, rw, suid, nosuid, nodev, noexec";
                    return Err(unknown(text, &option, known));
                }
            }
        }
        nothing_left(text, fields)?;
        spec.source = Source::Tmpfs(data);
        Ok(spec)
    }

    fn attribute(&mut self, option: &OsStr) -> bool {
        match option.to_str() {
            Some("ro") => self.attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
            Some("rw") => self.attributes -= MountAttrFlags::MOUNT_ATTR_RDONLY,
            Some("nosuid") => self.attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID,
            Some("nodev") => self.attributes |= MountAttrFlags::MOUNT_ATTR_NODEV,
            Some("noexec") => self.attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
            _ => return false,
        }
        true
    }
}

/// Splits at colons; `\:` is a colon of the path, `\\` a backslash.
fn fields(text: &OsStr) -> impl Iterator<Item = OsString> {
    let mut fields = vec![Vec::new()];
    let mut bytes = text.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if matches!(bytes.peek(), Some(b':' | b'\\')) => {
                fields.last_mut().expect("never empty").extend(bytes.next());
            }
            b':' => fields.push(Vec::new()),
            _ => fields.last_mut().expect("never empty").push(byte),
        }
    }
    fields.into_iter().map(OsString::from_vec)
}

fn options(field: Option<OsString>) -> Vec<OsString> {
    let field = field.unwrap_or_default();
    let words = field.as_bytes().split(|&byte| byte == b',').filter(|word| !word.is_empty());
    words.map(|word| OsStr::from_bytes(word).to_owned()).collect()
}

fn checked(dest: PathBuf, text: &OsStr) -> Result<PathBuf, Error> {
    let bad = |why: &str| Err(Error::new(format!("mount {text:?}: the destination {dest:?} {why}")));
    if !dest.is_absolute() {
        return bad("is not absolute");
    }
    if dest.components().any(|part| part == Component::ParentDir) {
        return bad("has a \"..\" in it");
    }
    match dest.components().nth(1) {
        None => bad("is the root itself"),
        Some(part) if part.as_os_str() == "proc" || part.as_os_str() == "sys" => {
            bad("is in a file system that the container mounts for itself, over this")
        }
        Some(_) => Ok(dest),
    }
}

fn unknown(text: &OsStr, option: &OsStr, known: &str) -> Error {
    Error::new(format!("mount {text:?}: unknown option {option:?}")).hint(format!("there are {known}"))
}

fn nothing_left(text: &OsStr, mut fields: impl Iterator<Item = OsString>) -> Result<(), Error> {
    match fields.next() {
        None => Ok(()),
        Some(_) => {
            Err(Error::new(format!("mount {text:?} has too many fields")).hint(r"a colon in a path is written \:"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn bind(text: &str) -> Result<Spec, Error> {
        Spec::bind(text.as_ref(), false)
    }

    #[test]
    fn source_destination_and_options() {
        let spec = bind(r"/a\:b\\c:/d:ro,noexec").unwrap();
        assert!(matches!(&spec.source, Source::Bind(path) if path == Path::new(r"/a:b\c")));
        assert_eq!(spec.dest, Path::new("/d"));
        assert!(spec.attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC));
        assert_eq!(bind("/a").unwrap().dest, Path::new("/a"));
    }

    #[test]
    fn names_what_is_wrong() {
        let said = |text: &str| bind(text).unwrap_err().to_string();
        assert_eq!(said("a"), r#"mount "a": the destination "a" is not absolute"#);
        assert_eq!(said("/a:/b/../c"), r#"mount "/a:/b/../c": the destination "/b/../c" has a ".." in it"#);
        assert_eq!(said("/a:/b:ro,xx"), r#"mount "/a:/b:ro,xx": unknown option "xx""#);
        assert_eq!(said("/a:/b:ro:c"), r#"mount "/a:/b:ro:c" has too many fields"#);
        assert_eq!(said("/a:/"), r#"mount "/a:/": the destination "/" is the root itself"#);
    }
}
