//! Which ids the two user namespaces of a container map.

use pseudo::{Caller, Maps};
use seal::Error;

use crate::options::Options;

/// The maps of a container and how its trees are made to fit them.
pub struct Ids {
    /// Who runs this.
    pub caller: Caller,
    /// The guard's own user namespace; a privileged caller needs none.
    pub outer: Option<Maps>,
    /// The container's, in terms of the guard's.
    pub inner: Maps,
    /// Whether trees are idmapped to show the ids that stand on disk.
    pub idmap: bool,
    /// What the container's root is to the guard.
    pub root: (u32, u32),
}

impl Ids {
    /// Decides for this caller. Root of the initial user namespace can idmap;
    /// root of another one, `pseudo`'s, cannot and maps identity, so that the
    /// ids need not shift at all; an ordinary user maps his own in the outer
    /// namespace and repeats them in the inner one.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let caller = Caller::current()?;
        let asked = options.uid_map.is_some() || options.gid_map.is_some();
        let (outer, inner) = if !caller.privileged {
            let outer = Maps::requested(&caller, options.uid_map.as_deref(), options.gid_map.as_deref())?;
            let inner = Maps { uid: outer.uid.identity(), gid: outer.gid.identity() };
            (Some(outer), inner)
        } else if caller.initial || asked {
            (None, Maps::requested(&caller, options.uid_map.as_deref(), options.gid_map.as_deref())?)
        } else {
            (None, Maps { uid: caller.uids.identity(), gid: caller.gids.identity() })
        };
        let same = inner.uid.is_identity() && inner.gid.is_identity();
        let idmap = !options.no_idmap && caller.privileged && caller.initial && !same;
        let root = (inner.uid.outside(0).unwrap_or(0), inner.gid.outside(0).unwrap_or(0));
        Ok(Self { caller, outer, inner, idmap, root })
    }

    /// Whether a file that the container leaves on disk may be root's there.
    pub fn plants_root(&self) -> bool {
        let is_host_root = |extent: &pseudo::Extent| extent.outside == 0;
        self.idmap || self.unlocked() && self.inner.uid.extents().iter().any(is_host_root)
    }

    /// Whether someone in the container may be the owner of a file of the host.
    pub fn may_own(&self, file: &rustix::fs::Stat) -> bool {
        self.outside().uid.has_outside(file.st_uid)
    }

    /// Whether someone in the container could write to this program's own file,
    /// to which a command named /proc/self/exe would lead him (CVE-2019-5736).
    pub fn exposes_own_program(&self) -> Result<bool, Error> {
        let maps = self.outside();
        seal::own::is_exposed(|uid| maps.uid.has_outside(uid), |gid| maps.gid.has_outside(gid))
    }

    /// The maps onto ids of the host.
    fn outside(&self) -> &Maps {
        self.outer.as_ref().unwrap_or(&self.inner)
    }

    /// Whether mounts copied into the guard's namespace are not locked
    /// together: it is of the same user namespace as the caller's.
    pub fn unlocked(&self) -> bool {
        self.outer.is_none() && self.caller.initial
    }
}
