//! A helper that stays where this process was, for what cannot be done from
//! inside of new namespaces: to write maps with the rights of before, and to
//! mount where others see it.

use seal::{Context, Error};

use crate::channel::{Channel, Message};
use crate::process::{Child, Forked, die_with_parent, fork};

/// What the helper does in one step.
pub type Job<'a> = &'a dyn Fn() -> Result<(), Error>;

/// The helper, which ends with this process at the latest.
pub struct Outside {
    child: Child,
    channel: Channel,
}

impl Outside {
    /// Forks it: each call of [`Outside::step`] makes it do one of `jobs`.
    pub fn start(jobs: &[Job]) -> Result<Self, Error> {
        let (channel, theirs) = Channel::pair()?;
        match fork(0).tried(|| "cannot fork a helper")? {
            Forked::Parent(child) => Ok(Self { child, channel }),
            Forked::Child => {
                drop(channel);
                die_with_parent(libc::SIGKILL);
                for job in jobs {
                    // Anything else is the end of who would ask.
                    if !matches!(theirs.receive(), Ok(Some(Message::Go))) {
                        break;
                    }
                    theirs.send(&job().map_or_else(Message::Failed, |()| Message::Go));
                }
                seal::exit(0)
            }
        }
    }

    /// Has the next job done.
    pub fn step(&self) -> Result<(), Error> {
        self.channel.send(&Message::Go);
        match self.channel.receive()? {
            Some(Message::Go) => Ok(()),
            Some(Message::Failed(error)) => Err(error),
            _ => Err(Error::new("the helper outside of the namespaces is gone")),
        }
    }

    /// Waits for its end.
    pub fn end(self) {
        drop(self.channel);
        let _ = self.child.wait();
    }
}
