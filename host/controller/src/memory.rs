//! Memory that the start has used.

use std::ffi::c_void;
use std::fs;

use rustix::mm::{Advice, madvise};
use tracing::debug;

/// Lets go of the program's pages that are in RAM. Most of what is there ran once: the command line, the
/// configuration, the making of the engine, and whatever lies beside it, since the kernel maps 64 KiB at a
/// time. What is used again comes back from the page cache. Does nothing where there is no `/proc`.
pub(crate) fn let_go_of_the_start() {
    let Ok(program) = fs::read_link("/proc/self/exe") else {
        return;
    };
    let maps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for (start, length) in program
        .to_str()
        .into_iter()
        .flat_map(|path| pages(&maps, path))
    {
        // SAFETY: nobody can write to them and nobody has: they hold what the file holds, and the kernel
        // reads them from there again when they are touched.
        #[expect(unsafe_code, reason = "what the kernel unmaps it also maps again")]
        let let_go = unsafe {
            let start = std::ptr::without_provenance_mut::<c_void>(start);
            madvise(start, length, Advice::LinuxDontNeed)
        };
        if let Err(error) = let_go {
            debug!(%error, "the pages of the start stay in memory");
        }
    }
}

/// Address and length in bytes of the mappings in an `smaps` that hold what is in the program's file and
/// nothing else: what was relocated is not among them.
fn pages(smaps: &str, program: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut open = None;
    for line in smaps.lines() {
        match line.split_once(':') {
            Some(("Anonymous", size)) => {
                found.extend(open.take().filter(|_| size.trim() == "0 kB"));
            }
            Some((name, _)) if !name.contains(' ') => {}
            _ => open = read_only(line, program),
        }
    }
    found
}

/// Address and length of a mapping, by its first line, if it is of this program and not to be written to.
fn read_only(line: &str, program: &str) -> Option<(usize, usize)> {
    // address permissions offset device inode path
    let mut parts = line.splitn(6, ' ');
    let (range, permissions) = (parts.next()?, parts.next()?);
    let path = parts.nth(3)?.trim_start();
    if !["r-xp", "r--p"].contains(&permissions) || path != program {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).ok());
    Some((start?, end?.checked_sub(start?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: &str, anonymous: u32) -> Vec<(usize, usize)> {
        let smaps = format!(
            "{first}\nSize:   24320 kB\nRss:  15104 kB\nAnonymous:  {anonymous} kB\nVmFlags: rd ex mr mw me\n"
        );
        pages(&smaps, "/manager")
    }

    #[test]
    fn only_what_is_in_the_file_is_let_go() {
        let code =
            "55bb2fddc000-55bb3159c000 r-xp 0054b000 fe:00 5483475                    /manager";
        let found = [(0x55bb_2fdd_c000, 0x17c_0000)];
        assert_eq!(of(code, 0), found);
        assert_eq!(of(&code.replace("r-xp", "r--p"), 0), found);
        assert_eq!(of(code, 4), [], "a debugger has written there");
        // Data that was relocated, data, a program that writes itself, another's, nobody's, no mapping.
        let relocated = code.replace("r-xp", "r--p");
        assert_eq!(of(&relocated, 480), []);
        for other in [
            code.replace("r-xp", "rw-p"),
            code.replace("r-xp", "rwxp"),
            code.replace("r-xp", "r-xs"),
            code.replace("/manager", "/manager (deleted)"),
            code.replace("/manager", "/usr/lib/libc.so.6"),
            code.replace("/manager", ""),
            code.replace("55bb3159c000", "55bb2fddb000"),
            String::new(),
        ] {
            assert_eq!(of(&other, 0), [], "{other}");
        }
        // Two after each other.
        let both = format!(
            "{code}\nAnonymous: 0 kB\n{}\nAnonymous: 8 kB",
            code.replace("5", "6")
        );
        assert_eq!(pages(&both, "/manager"), found);
    }

    /// What was let go of is there again.
    #[test]
    fn the_program_goes_on() {
        let path = fs::read_link("/proc/self/exe").unwrap();
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(!pages(&maps, path.to_str().unwrap()).is_empty());
        let_go_of_the_start();
        assert_eq!("7".parse::<i32>().map(|seven| seven * 6), Ok(42));
    }
}
