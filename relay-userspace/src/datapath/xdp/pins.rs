//! What outlives the process: maps and links pinned in the BPF file system.
//!
//! ```text
//! DIR/links/native-eth0   keeps the program attached, whichever version it has
//! DIR/abi-1/FLOWS …       the maps that hold flows, by the version of their layout
//! ```
//!
//! A killed process leaves both, and media flows on. The next one looks at what
//! it finds before it takes it over (the kernel gives out a pinned map of any
//! shape) and replaces the program through the link, so no packet meets an
//! interface without one. What does not fit is replaced when it holds no flow;
//! with flows in it, that would cut calls, and takes the operator's word.
//!
//! The directory is locked as long as the process lives, so two processes never
//! write one set of maps. A process that ends in order removes what is pinned;
//! one that panics leaves it for the next.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapType};
use aya::programs::links::{FdLink, PinnedLink};
use relay_ebpf::abi::{self, ABI_VERSION, FlowRest, FlowSlot, GuardRule, HopSlot, Layout, MAX_RULES};
use relay_ebpf::verdict::Verdict;

use super::load::{Hook, explain, failed};
use super::netlink::Link;
use super::older::{Left, Older};
use super::table::{FlowTable, Mapped};
use crate::datapath::DatapathError;

const DOING: &str = "taking over the pinned media path";
/// `statfs` of a BPF file system.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// `BPF_F_NO_PREALLOC` and `BPF_F_MMAPABLE`.
const NO_PREALLOC: u32 = 1;
const MAPPABLE: u32 = 1 << 10;

/// The pins of this process.
pub(super) struct Pins {
    directory: PathBuf,
    /// Locked while the process lives.
    _lock: File,
    /// Whether they are this process's to remove.
    ours: bool,
    older: Vec<OlderPins>,
}

/// What a version with another layout has left.
struct OlderPins {
    folder: PathBuf,
    reader: Older,
    left: Left,
}

/// A map that is pinned, and what it must be like.
struct Kept {
    name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    entries: u32,
    flags: u32,
}

fn kept(layout: &Layout) -> [Kept; 8] {
    let array =
        |name, value, entries| Kept { name, kind: MapType::Array, key: 4, value, entries, flags: MAPPABLE };
    let trie = |name, key| Kept {
        name,
        kind: MapType::LpmTrie,
        key,
        value: size_of::<GuardRule>(),
        entries: MAX_RULES,
        flags: NO_PREALLOC,
    };
    let slots = layout.slots();
    [
        array(abi::KEPT_LAYOUT, size_of::<Layout>(), 1),
        array(abi::FLOWS, size_of::<FlowSlot>(), slots),
        array(abi::RESTS, size_of::<FlowRest>(), slots),
        array(abi::HOPS, size_of::<HopSlot>(), abi::hops(slots)),
        Kept { kind: MapType::PerCpuArray, flags: 0, ..array(abi::VERDICTS, 8, Verdict::COUNT) },
        trie(abi::GUARD_V4, 4 + 4),
        trie(abi::GUARD_V6, 4 + 16),
        array(abi::GUARD_HITS, 8, MAX_RULES),
    ]
}

impl Pins {
    /// The pins in `directory`, cleared of what does not fit `layout`. `None`,
    /// with a warning, where there is no BPF file system.
    pub(super) fn open(
        directory: &Path,
        layout: &Layout,
        discard_calls: bool,
        readers: &[Older],
    ) -> Result<Option<Self>, DatapathError> {
        if !is_bpffs(directory) {
            let remedy =
                "mount one with `mount -t bpf bpf /sys/fs/bpf`, or name another directory in media.pin";
            return Ok(goes_without(&format!("{} is in no BPF file system", directory.display()), remedy));
        }
        let made = fs::create_dir_all(directory.join("links")).and_then(|()| File::open(directory));
        let lock = match made {
            Ok(lock) => lock,
            // Pins are worth having, not worth a slower path.
            Err(error) => {
                let remedy = "make the directory and give it to the user that runs Vizard (as root: `install -d -o \
                              USER DIRECTORY`; every directory above needs `chmod a+x`)";
                return Ok(goes_without(&format!("{}: {error}", directory.display()), remedy));
            }
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DatapathError::Held(format!(
                    "another Vizard keeps its media path in {}: stop it, or name another directory in media.pin",
                    directory.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(failed(DOING, error.to_string())),
        }
        let mut pins = Self { directory: directory.to_owned(), _lock: lock, ours: false, older: Vec::new() };
        pins.find_older(layout, discard_calls, readers)?;
        pins.clear_unfit(layout, discard_calls)?;
        Ok(Some(pins))
    }

    /// Where a map is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// The maps that are pinned.
    pub(super) fn names(layout: &Layout) -> impl Iterator<Item = &'static str> {
        kept(layout).into_iter().map(|kept| kept.name)
    }

    /// Makes room for maps.
    pub(super) fn prepare(&self) -> Result<(), DatapathError> {
        fs::create_dir_all(self.maps()).map_err(|error| failed(DOING, error.to_string()))
    }

    /// The link that keeps a program on an interface, if it still does.
    pub(super) fn link(&self, link: &Link, hook: Hook) -> Option<FdLink> {
        let path = self.link_path(link, hook);
        let pinned = PinnedLink::from_pin(&path).ok()?;
        let pinned = FdLink::from(pinned);
        let attached = pinned.info().ok().map(|info| info.program_id());
        if attached.is_some() && attached == link.xdp_program {
            return Some(pinned);
        }
        // The interface was made anew, or somebody detached the program.
        remove(&path);
        None
    }

    /// Has a link outlive the process.
    pub(super) fn keep(&self, link: &Link, hook: Hook, attached: FdLink) -> Result<FdLink, DatapathError> {
        let path = self.link_path(link, hook);
        remove(&path);
        let pinned = attached.pin(&path).map_err(|error| failed("pinning a link", error.to_string()))?;
        Ok(pinned.into())
    }

    /// From now on an end in good order removes the pins.
    pub(super) fn own(&mut self) {
        self.ours = true;
    }

    fn maps(&self) -> PathBuf {
        self.directory.join(format!("abi-{ABI_VERSION}"))
    }

    fn link_path(&self, link: &Link, hook: Hook) -> PathBuf {
        let mode = match hook {
            Hook::Native => "native",
            Hook::Generic => "generic",
        };
        // The file system has no names with dots, and interfaces none with colons.
        self.directory.join("links").join(format!("{mode}-{}", link.name.replace('.', ":")))
    }

    /// Maps of other versions: read by whoever can, else the operator decides.
    fn find_older(
        &mut self,
        layout: &Layout,
        discard_calls: bool,
        readers: &[Older],
    ) -> Result<(), DatapathError> {
        for folder in entries(&self.directory) {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name == "links" || folder == self.maps() {
                continue;
            }
            let version = name.strip_prefix("abi-").and_then(|version| version.parse().ok());
            let reader = readers.iter().find(|reader| Some(reader.version) == version);
            let read = reader.map_or_else(
                || Err("this version cannot read them".to_owned()),
                |reader| match (reader.read)(&folder, layout) {
                    Ok(left) => Ok((*reader, left)),
                    Err(error) => Err(error.to_string()),
                },
            );
            match read {
                Ok((reader, left)) => self.older.push(OlderPins { folder, reader, left }),
                Err(_) if discard_calls => clear(&folder),
                Err(problem) => {
                    return Err(DatapathError::Held(format!(
                        "{} holds flows of another version of Vizard, and {problem}: start that version and stop it \
                         in order, or start with --discard-calls to cut its calls",
                        folder.display()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Fills our maps from those of versions before, ahead of the program.
    pub(super) fn carry_over(&self, flows: &mut FlowTable, hops: &Mapped<HopSlot>) {
        for older in &self.older {
            for (slot, hop) in &older.left.hops {
                hops.write(*slot, *hop);
            }
            for flow in &older.left.flows {
                flows.carry(flow);
            }
        }
    }

    /// The program is switched: what was counted meanwhile is added, and the maps
    /// of before go.
    pub(super) fn leave_older(&mut self, flows: &mut FlowTable, layout: &Layout) {
        for OlderPins { folder, reader, left } in std::mem::take(&mut self.older) {
            match (reader.read)(&folder, layout) {
                Ok(now) => {
                    for (since, now) in left.flows.iter().zip(&now.flows) {
                        if since.slot == now.slot {
                            flows.catch_up(since, now);
                        }
                    }
                }
                Err(error) => tracing::warn!("{} cannot be read a second time: {error}", folder.display()),
            }
            tracing::info!("{} flows carried over from {}", left.flows.len(), folder.display());
            clear(&folder);
        }
    }

    /// Maps of our version that were made for other addresses, ports or sizes.
    fn clear_unfit(&self, layout: &Layout, discard_calls: bool) -> Result<(), DatapathError> {
        if entries(&self.maps()).is_empty() {
            return Ok(());
        }
        let Err(problem) = self.fits(layout) else { return Ok(()) };
        let flows = self.flows();
        if flows > 0 && !discard_calls {
            return Err(DatapathError::Held(format!(
                "{flows} flows are live in {}, and {problem}: start with the media addresses and ports of before \
                 until these calls have ended, or with --discard-calls to cut them",
                self.directory.display()
            )));
        }
        tracing::warn!("the pinned maps are made anew, {flows} flows with them: {problem}");
        clear(&self.maps());
        Ok(())
    }

    /// Whether every pinned map is what we would make; the error says what is not.
    fn fits(&self, layout: &Layout) -> Result<(), String> {
        for kept in kept(layout) {
            let name = kept.name;
            let map = MapData::from_pin(self.map(name)).map_err(|error| format!("map {name}: {error}"))?;
            let info = map.info().map_err(|error| format!("map {name}: {error}"))?;
            let found = (
                info.map_type().ok(),
                info.key_size() as usize,
                info.value_size() as usize,
                info.max_entries(),
                info.map_flags(),
            );
            if found != (Some(kept.kind), kept.key, kept.value, kept.entries, kept.flags) {
                return Err(format!("map {name} has another shape or size than the configuration asks for"));
            }
        }
        let kept = MapData::from_pin(self.map(abi::KEPT_LAYOUT)).map_err(|error| error.to_string())?;
        let kept: Mapped<Layout> = Mapped::new(&kept).map_err(|error| explain(&error))?;
        if kept.read(0) == Some(*layout) {
            Ok(())
        } else {
            Err("they are of other media addresses or ports".to_owned())
        }
    }

    /// How many flows are live in the pinned maps, as far as they can be read.
    fn flows(&self) -> usize {
        let open = |name| MapData::from_pin(self.map(name)).ok();
        let (Some(flows), Some(rests)) = (open(abi::FLOWS), open(abi::RESTS)) else { return 0 };
        FlowTable::new(&flows, &rests).map_or(usize::MAX, |table| table.count())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.ours && !std::thread::panicking() {
            clear(&self.directory.join("links"));
            clear(&self.maps());
        }
    }
}

/// Says that media will not outlive the process, and why.
fn goes_without(problem: &str, remedy: &str) -> Option<Pins> {
    tracing::warn!("{problem}: media stops when this process does; {remedy}, or set media.pin = \"\"");
    None
}

/// Whether a directory, or the nearest one above it that exists, is in a BPF
/// file system.
fn is_bpffs(directory: &Path) -> bool {
    let existing = directory.ancestors().find(|path| path.exists());
    let stat = existing.and_then(|path| rustix::fs::statfs(path).ok());
    stat.is_some_and(|stat| stat.f_type == BPF_FS_MAGIC)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = list.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths
}

/// Removes a folder of pins.
fn clear(folder: &Path) {
    for path in entries(folder) {
        remove(&path);
    }
    if let Err(error) = fs::remove_dir(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove {}: {error}", folder.display());
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_bpf_file_system_nothing_is_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::open(&folder.path().join("deep/down"), &Layout::new(20_000, 20_099), false, &[]);
        assert!(matches!(pins, Ok(None)));
        assert!(!folder.path().join("deep").exists());
    }
}
