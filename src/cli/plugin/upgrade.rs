//! `gauged plugin upgrade`: renews the files of gauged in a project, which `gauged plugin new` wrote: the WIT, the SDK, generated
//! bindings. No other file is touched, and none that was changed in the project unless that is asked for.

mod plan;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum as _};

use self::plan::{Plan, Present, Step};
use super::checkout::is_checkout;
use super::new::Language;
use super::new::files::{is_vendored, vendored};
use super::origin::{ORIGIN_FILE, Origin, hash};
use super::source_tree::SourceState;
use crate::cli::error::{CommandError, print_errors};
use crate::cli::output::{print, table};
use crate::plugin::harness::PackageVersion;

/// How many lines of the author's are named that have the old version: more are found by the same search.
const NAMED_LINES: usize = 20;

/// The longest file that is searched for the old version: longer ones are no sources.
const SEARCHED_BYTES: u64 = 1 << 20;

/// Arguments of `gauged plugin upgrade`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Directory of the project
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Renew files that were changed in the project, too
    #[arg(long)]
    force: bool,
}

/// Renews the files, and prints what changed and what is left to do.
pub(super) fn run(Arguments { directory, force }: &Arguments) -> Result<ExitCode, CommandError> {
    let shown = directory.display();
    let Some(origin) = read_origin(directory)? else {
        print(&format!(
            "{shown} has no files of its own to renew: its SDK and WIT are those of the sources around it\n"
        ))?;
        return Ok(ExitCode::SUCCESS);
    };
    let (language, files) = own_files(directory, &origin)?;
    let own = Origin::new(&language, files.iter().map(|(path, text)| (*path, *text)));
    let present = hashes(directory, origin.files.keys().chain(own.files.keys()))?;
    let plan = Plan::new(&origin.files, &own.files, |path| match present.get(path) {
        None => Present::Missing,
        Some(Some(hash)) => Present::File(hash),
        Some(None) => Present::Other,
    });
    if !plan.conflicts.is_empty() && !force {
        let mut lines = vec![format!(
            "{shown} was left as it is: files of gauged were changed in it; undo that, or renew them with --force"
        )];
        lines.extend(plan.conflicts.iter().map(|path| format!("  {path}")));
        print_errors(&lines);
        return Ok(ExitCode::FAILURE);
    }
    for (path, step) in &plan.steps {
        let whole = directory.join(path);
        match (step, files.get(&**path)) {
            (Step::Change | Step::Add, Some(text)) => detach(directory, path).and_then(|()| replace(&whole, text)),
            _ => detach(directory, path).and_then(|()| remove(directory, path)),
        }
        .with_context(|| format!("failed to renew {}; correct that, and run it again", whole.display()))?;
    }
    // Last: until then the old record holds, and a file that has its new content is no conflict.
    if own != origin {
        let record = directory.join(ORIGIN_FILE);
        replace(&record, &own.text()).with_context(|| format!("failed to write {}", record.display()))?;
    }
    print(&report(directory, &origin, &own, &plan)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The record of a project; none for a plugin among those of gauged's sources.
fn read_origin(directory: &Path) -> Result<Option<Origin>, CommandError> {
    let (shown, record) = (directory.display(), directory.join(ORIGIN_FILE));
    let text = match fs::read_to_string(&record) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let absolute = directory.canonicalize().ok();
            let is_among_sources =
                absolute.and_then(|path| Some(path.join("Cargo.toml").is_file() && is_checkout(path.parent()?)));
            if is_among_sources == Some(true) {
                return Ok(None);
            }
            return Err(CommandError::Usage(format!(
                "{shown} has no {ORIGIN_FILE}, which `gauged plugin new` writes; name the directory of a project that it made"
            )));
        }
        Err(error) => return Err(anyhow!(error).context(format!("failed to read {}", record.display())).into()),
    };
    Origin::parse(&text).map(Some).map_err(|why| CommandError::Usage(format!("{} {why}", record.display())))
}

/// The files of this program for a project: its language, and contents by path.
fn own_files(
    directory: &Path,
    origin: &Origin,
) -> Result<(String, BTreeMap<&'static str, &'static str>), CommandError> {
    let Origin { agent, interface, language, .. } = origin;
    let (shown, own) = (directory.display(), Origin::new("", []));
    let is_later = |theirs: &str, ours: &str| match [theirs, ours].map(PackageVersion::parse) {
        [Some(theirs), Some(ours)] => theirs > ours,
        _ => true,
    };
    if is_later(interface, &own.interface) || is_later(agent, &own.agent) {
        let (ours, our_agent) = (own.interface, own.agent);
        return Err(anyhow!(
            "{shown} is of gauged {agent} with gauged:plugin {interface}, and this is {our_agent} with {ours}; use a newer gauged"
        )
        .into());
    }
    let Ok(known) = Language::from_str(language, false) else {
        return Err(anyhow!("{shown} is in {language}, which this gauged does not know; use a newer one").into());
    };
    Ok((known.name(), vendored(known.files()).collect()))
}

/// The hashes of those files that there are, by their paths; none of what is no regular file, or is behind a link.
fn hashes<'a>(
    directory: &Path,
    paths: impl Iterator<Item = &'a String>,
) -> anyhow::Result<BTreeMap<String, Option<String>>> {
    let mut hashes = BTreeMap::new();
    for path in paths {
        if linked_directory(directory, path).is_some() {
            hashes.insert(path.clone(), None);
            continue;
        }
        let whole = directory.join(path);
        let content = match fs::symlink_metadata(&whole) {
            Ok(metadata) if metadata.is_file() => {
                Some(fs::read(&whole).with_context(|| format!("failed to read {}", whole.display()))?)
            }
            Ok(_) => None,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(error).with_context(|| format!("failed to read {}", whole.display())),
        };
        hashes.insert(path.clone(), content.map(|content| hash(&content)));
    }
    Ok(hashes)
}

/// The first directory on the way to a file that is a link, and so leads out of the project.
fn linked_directory(project: &Path, path: &str) -> Option<PathBuf> {
    let mut above: Vec<PathBuf> = Path::new(path).ancestors().skip(1).map(|above| project.join(above)).collect();
    // The last one is the project itself.
    above.pop();
    let is_link = |above: &PathBuf| fs::symlink_metadata(above).is_ok_and(|metadata| metadata.is_symlink());
    above.into_iter().rev().find(is_link)
}

/// Removes the link on the way to a file, if there is one, and nothing behind it.
fn detach(project: &Path, path: &str) -> io::Result<()> {
    linked_directory(project, path).map_or(Ok(()), fs::remove_file)
}

/// Writes a file, which has its old content or its new one at any moment.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    fs::create_dir_all(directory)?;
    let unfinished = directory.join(format!(".{}.new", name.display()));
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, path)
}

/// Removes a file, and the directories of gauged above it that are empty then.
fn remove(project: &Path, path: &str) -> io::Result<()> {
    match fs::remove_file(project.join(path)) {
        // It was behind a link.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    let above = Path::new(path).ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    for directory in above {
        // It fails for the first one that has something else.
        if fs::remove_dir(project.join(directory)).is_err() {
            break;
        }
    }
    Ok(())
}

fn report(directory: &Path, origin: &Origin, own: &Origin, plan: &Plan) -> anyhow::Result<String> {
    let shown = directory.display();
    if plan.steps.is_empty() {
        return Ok(format!("{shown} has the files of gauged {} already: gauged:plugin {}\n", own.agent, own.interface));
    }
    let versions = if origin.interface == own.interface {
        own.interface.clone()
    } else {
        format!("{} -> {}", origin.interface, own.interface)
    };
    let mut text = format!("{shown} has the files of gauged {} now: gauged:plugin {versions}\n\n", own.agent);
    text += &table(plan.steps.iter().map(|(path, step)| vec![step.name().to_owned(), path.clone()]));
    let mut left = Vec::new();
    if origin.interface != own.interface {
        for (path, number) in lines_with(directory, &origin.interface)? {
            left.push(vec![format!("{path}:{number}"), format!("names {}; write {}", origin.interface, own.interface)]);
        }
        let more = left.len().saturating_sub(NAMED_LINES);
        if more > 0 {
            left.truncate(NAMED_LINES);
            left.push(vec![String::new(), format!("and {more} more lines that name {}", origin.interface)]);
        }
        left.push(vec![
            "wit/gauged.wit".to_owned(),
            "compare it with the one before, and change the sources accordingly".to_owned(),
        ]);
    }
    left.push(vec!["./test.sh".to_owned(), "build and test the plugin".to_owned()]);
    let _ = write!(text, "\nleft to do\n{}", table(left));
    Ok(text)
}

/// The lines of the author's files that have a version of the interface: path, and number from 1.
fn lines_with(directory: &Path, version: &str) -> anyhow::Result<Vec<(String, usize)>> {
    let state = SourceState::scan(directory, &SourceState::default())?;
    let mut found = Vec::new();
    let is_authors = |path: &&Path| *path != Path::new(ORIGIN_FILE) && !path.to_str().is_some_and(is_vendored);
    for path in state.paths().filter(is_authors) {
        let whole = directory.join(path);
        if fs::metadata(&whole).is_ok_and(|metadata| metadata.len() > SEARCHED_BYTES) {
            continue;
        }
        // Others than texts have no such line.
        let text = fs::read_to_string(&whole).unwrap_or_default();
        for (number, _) in (1..).zip(text.lines()).filter(|(_, line)| names_version(line, version)) {
            found.push((path.display().to_string(), number));
        }
    }
    Ok(found)
}

/// Whether a line has this version, and not one that begins or ends with it.
fn names_version(line: &str, version: &str) -> bool {
    let continues = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-');
    line.match_indices(version).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let mut after = line[at + version.len()..].chars();
        // A full stop ends a sentence.
        let is_end = match after.next() {
            Some('.') => !after.next().is_some_and(continues),
            Some(next) => !continues(next),
            None => true,
        };
        is_end && !before.is_some_and(continues)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_versions_are_found() {
        for line in
            ["import x from \"gauged:plugin/files@0.2.0\";", "0.2.0", "for 0.2.0.", "(0.2.0)", "0.2.01 and 0.2.0"]
        {
            assert!(names_version(line, "0.2.0"), "{line}");
        }
        for line in ["", "10.2.0", "0.2.0-rc.1", "0.2.0.1", "0.2.00", "v0.2.0"] {
            assert!(!names_version(line, "0.2.0"), "{line}");
        }
    }
}
