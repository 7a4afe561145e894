//! The study file: `study.toml` as typed values, every key checked.

use crate::error::StudyError;
use crate::reader::{Reader, wrong_type};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use stepstone_files::read_at_most;
use stepstone_tasks::Files;
use stepstone_train::{Layer, Overrides, Preset, Role, Source};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

const ROLES: [Role; 3] = [Role::Intermediate, Role::Target, Role::Probe];
const STUDY_KEYS: [&str; 9] =
    ["name", "model", "data", "out", "store", "restarts", "baseline_restarts", "preset", "keep_models"];
/// Every restart is a folder and an entry of the plan: without a limit, a typo could fill memory and disk.
const MOST_RESTARTS: u64 = 1000;
/// Far above any study file: a wrong file must not fill memory.
const MOST_BYTES: u64 = 16 << 20;

/// A study as its file describes it. Relative paths are already joined to the file's folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// The file.
    pub path: PathBuf,
    /// blake3 of the file's text, 64 hex digits: shows whether it has been edited.
    pub digest: String,
    /// Name of the study, as in observations.csv.
    pub name: String,
    /// What the study reads and where it writes.
    pub folders: StudyFolders,
    /// Restarts of every run.
    pub restarts: u64,
    /// Restarts of the runs that start from the pretrained encoder.
    pub baseline_restarts: u64,
    /// Preset of every recipe, before overrides.
    pub preset: Preset,
    /// Whether targets and probes keep their models as well.
    pub keep_models: bool,
    /// Tasks with their roles, in the order of the file.
    pub tasks: Vec<(String, Role)>,
    /// Files that replace a task's own, by task.
    files: BTreeMap<String, Files>,
    /// Values of the recipe.
    recipe: Recipes,
}

/// What a study reads and where it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyFolders {
    /// Hugging Face folder of the pretrained encoder.
    pub model: PathBuf,
    /// Folder that holds one folder per task.
    pub data: PathBuf,
    /// Folder of the results.
    pub out: PathBuf,
    /// Folder of the runs.
    pub store: PathBuf,
}

/// Overrides by table of the file: for one task or all tasks, in one role or all roles.
type Recipes = BTreeMap<(Option<String>, Option<Role>), Overrides>;

/// Paths of the command line that replace those of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of StudyFolders")]
pub struct StudyPaths {
    pub model: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub out: Option<PathBuf>,
}

impl Study {
    /// Reads a study file.
    ///
    /// # Errors
    /// If it is missing, unreadable or not TOML, or has an unknown key, a value of the wrong type or out of range, an
    /// unknown task, or a task twice.
    pub fn read(path: &Path, paths: &StudyPaths) -> Result<Self, StudyError> {
        let text = read_at_most(path, MOST_BYTES).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
        });
        let text = text.map_err(|source| match source.kind() {
            ErrorKind::NotFound => StudyError::Missing { path: path.into() },
            ErrorKind::IsADirectory => StudyError::Folder { path: path.into() },
            ErrorKind::InvalidData => {
                Reader { path, text: "" }.error(0..0, "not UTF-8 text, expected TOML".into(), None)
            }
            _ => StudyError::Read { path: path.into(), source },
        })?;
        let reader = Reader { path, text: &text };
        let mut root = DeTable::parse(&text).map_err(|error| reader.toml(&error, 0..0))?.into_inner();
        reader.known(&root, "a study file", &["study", "tasks", "recipe", "task"])?;
        // Renamed before `files` and the recipes are read, so that both see the tasks' own names.
        reader.name_tasks(&mut root)?;
        let whole = 0..0;
        let (mut study, at) =
            reader.table(&mut root, "study")?.ok_or_else(|| reader.missing(whole, "study", "the file"))?;
        reader.known(&study, "[study]", &STUDY_KEYS)?;
        let tasks = reader.tasks(&mut root)?;
        let name = reader.name(&mut study, at.clone())?;
        let preset = reader.preset(&mut study)?;
        let folders = reader.folders(&mut study, &name, (paths, at))?;
        let restarts = reader.count(&mut study, "restarts")?.unwrap_or(3);
        Ok(Self {
            path: path.into(),
            digest: blake3::hash(text.as_bytes()).to_hex().to_string(),
            folders,
            restarts,
            baseline_restarts: reader.count(&mut study, "baseline_restarts")?.unwrap_or(restarts),
            preset,
            keep_models: reader.value(&mut study, "keep_models")?.unwrap_or(false),
            // `files` comes before the recipes, because it would be an unknown key among recipe values.
            files: reader.files(&mut root)?,
            recipe: reader.recipes(&mut root, &tasks)?,
            name,
            tasks,
        })
    }

    /// Whether the file is unchanged since it was read.
    pub fn is_unedited(&self) -> bool {
        read_at_most(&self.path, MOST_BYTES).is_ok_and(|bytes| blake3::hash(&bytes).to_hex().as_str() == self.digest)
    }

    /// Files that replace the task's own.
    pub fn files_of(&self, task: &str) -> Files {
        self.files.get(task).cloned().unwrap_or_default()
    }

    /// The overrides that apply to a task in a role, from general to specific.
    pub fn layers(&self, task: &str, role: Role) -> Vec<Layer> {
        // The last layer that sets a value wins, so the most specific table comes last.
        let places = [(None, None), (None, Some(role)), (Some(task), None), (Some(task), Some(role))];
        let layer = |(task, role): (Option<&str>, Option<Role>)| {
            let overrides = self.recipe.get(&(task.map(String::from), role))?.clone();
            Some(Layer { source: Source::Study(table_name(task, role)), overrides })
        };
        places.into_iter().filter_map(layer).collect()
    }
}

/// The table of the file that a value of the recipe comes from, or `[recipe]` if no layer sets it.
pub fn table_of(key: &str, layers: &[Layer]) -> String {
    let sets = |layer: &&Layer| serde_json::json!(layer.overrides).get(key).is_some_and(|value| !value.is_null());
    layers.iter().rev().find(sets).map_or_else(|| table_name(None, None), |layer| layer.source.to_string())
}

/// How a table of recipe values is written in the file.
fn table_name(task: Option<&str>, role: Option<Role>) -> String {
    let head = task.map_or_else(|| "recipe".to_owned(), |task| format!("task.{task}"));
    role.map_or_else(|| format!("[{head}]"), |role| format!("[{head}.{role}]"))
}

impl Reader<'_> {
    /// The study's name. The results go into a folder of this name beside the file, so it must not lead elsewhere.
    fn name(&self, study: &mut DeTable<'_>, place: Range<usize>) -> Result<String, StudyError> {
        let span = study.get("name").map_or(0..0, Spanned::span);
        let name: String = self.value(study, "name")?.ok_or_else(|| self.missing(place, "name", "[study]"))?;
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            let problem = format!("`name` is {name:?}, expected the name of a folder");
            let hint = "set `out` in [study] to write the results to another place".to_owned();
            return Err(self.error(span, problem, Some(hint)));
        }
        Ok(name)
    }

    /// The study's folders. Those of the file are relative to the file; those of the command line replace them.
    fn folders(
        &self,
        study: &mut DeTable<'_>,
        name: &str,
        (paths, place): (&StudyPaths, Range<usize>),
    ) -> Result<StudyFolders, StudyError> {
        let beside = self.path.parent().unwrap_or(Path::new(""));
        let mut folder = |flag: &Option<PathBuf>, key: &str| -> Result<Option<PathBuf>, StudyError> {
            let written: Option<PathBuf> = self.value(study, key)?;
            Ok(flag.clone().or_else(|| written.map(|written| beside.join(written))))
        };
        let needed = |key: &str| self.missing(place.clone(), key, "[study]");
        let model = folder(&paths.model, "model")?.ok_or_else(|| needed("model"))?;
        let data = folder(&paths.data, "data")?.ok_or_else(|| needed("data"))?;
        let out = folder(&paths.out, "out")?.unwrap_or_else(|| beside.join(name));
        let store = folder(&None, "store")?.unwrap_or_else(|| out.join("runs"));
        Ok(StudyFolders { model, data, out, store })
    }

    /// A number of restarts.
    fn count(&self, table: &mut DeTable<'_>, key: &str) -> Result<Option<u64>, StudyError> {
        let span = table.get(key).map_or(0..0, Spanned::span);
        match self.value::<u64>(table, key)? {
            Some(count) if !(1..=MOST_RESTARTS).contains(&count) => {
                Err(self.error(span, format!("`{key}` is {count}, expected 1 to {MOST_RESTARTS}"), None))
            }
            count => Ok(count),
        }
    }

    fn preset(&self, study: &mut DeTable<'_>) -> Result<Preset, StudyError> {
        let span = study.get("preset").map_or(0..0, Spanned::span);
        let Some(name) = self.value::<String>(study, "preset")? else { return Ok(Preset::Default) };
        let names = Preset::NAMES.join("\" or \"");
        Preset::of(&name).ok_or_else(|| self.error(span, format!("`preset` is \"{name}\", expected \"{names}\""), None))
    }

    fn tasks(&self, root: &mut DeTable<'_>) -> Result<Vec<(String, Role)>, StudyError> {
        let keys = ROLES.map(|role| role.to_string());
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let (mut table, at) = self.table(root, "tasks")?.ok_or_else(|| self.missing(0..0, "tasks", "the file"))?;
        self.known(&table, "[tasks]", &keys)?;
        let mut tasks: Vec<(String, Role)> = Vec::new();
        for role in ROLES {
            let names: Vec<Spanned<String>> = self.value(&mut table, &role.to_string())?.unwrap_or_default();
            for name in names {
                let span = name.span();
                let found = stepstone_tasks::find(name.get_ref());
                let found = found.map_err(|error| self.error(span.clone(), error.to_string(), Some(error.hint())))?;
                let name = found.name.to_owned();
                if let Some(problem) = clash(&tasks, &name, role) {
                    return Err(self.error(span, problem, None));
                }
                tasks.push((name, role));
            }
        }
        if tasks.iter().all(|(_, role)| *role == Role::Intermediate) {
            return Err(self.error(at, "[tasks] names no target and no probe, expected at least one".into(), None));
        }
        Ok(tasks)
    }

    /// Renames every table of a task to the task's own name, so that `[task.SST-2]` matches `sst2` in `[tasks]`.
    fn name_tasks(&self, root: &mut DeTable<'_>) -> Result<(), StudyError> {
        let Some(DeValue::Table(by_task)) = root.get_mut("task").map(Spanned::get_mut) else { return Ok(()) };
        let mut named = DeTable::new();
        let mut tables: Vec<_> = std::mem::take(by_task).into_iter().collect();
        tables.sort_by_key(|(written, _)| written.span().start); // the later of two is the one too many
        for (written, table) in tables {
            let span = written.span();
            // An unknown name is reported later, together with the tasks of this study.
            let name = stepstone_tasks::find(written.get_ref())
                .map_or_else(|_| written.into_inner(), |task| Cow::Borrowed(task.name));
            let problem = format!("a second table of task `{name}`, expected one");
            if named.insert(Spanned::new(span.clone(), name), table).is_some() {
                return Err(self.error(span, problem, None));
            }
        }
        *by_task = named;
        Ok(())
    }

    /// Takes `files` out of every task's table, which then holds recipe values only.
    fn files(&self, root: &mut DeTable<'_>) -> Result<BTreeMap<String, Files>, StudyError> {
        let mut files = BTreeMap::new();
        let Some(DeValue::Table(by_task)) = root.get_mut("task").map(Spanned::get_mut) else { return Ok(files) };
        for (name, task) in by_task.iter_mut() {
            if let DeValue::Table(task) = task.get_mut()
                && let Some(of_task) = self.value(task, "files")?
            {
                files.insert(name.get_ref().to_string(), of_task);
            }
        }
        Ok(files)
    }

    fn recipes(&self, root: &mut DeTable<'_>, tasks: &[(String, Role)]) -> Result<Recipes, StudyError> {
        let mut recipes = BTreeMap::new();
        if let Some((table, _)) = self.table(root, "recipe")? {
            self.recipe(table, None, tasks, &mut recipes)?;
        }
        if let Some((mut by_task, _)) = self.table(root, "task")? {
            let names: Vec<&str> = tasks.iter().map(|(name, _)| name.as_str()).collect();
            self.known(&by_task, "[task], which has the tasks of this study", &names)?;
            for name in names {
                if let Some((table, _)) = self.table(&mut by_task, name)? {
                    self.recipe(table, Some(name), tasks, &mut recipes)?;
                }
            }
        }
        Ok(recipes)
    }

    /// Reads one table of values and the tables by role inside it.
    fn recipe(
        &self,
        mut table: DeTable<'_>,
        task: Option<&str>,
        tasks: &[(String, Role)],
        recipes: &mut Recipes,
    ) -> Result<(), StudyError> {
        for role in ROLES {
            if let Some((mut inner, at)) = self.table(&mut table, &role.to_string())? {
                let plays = |task: &str| tasks.iter().any(|(name, r)| name == task && *r == role);
                if let Some(task) = task.filter(|task| !plays(task)) {
                    let problem =
                        format!("task `{task}` is not listed as {role} in [tasks], so these values have no effect");
                    return Err(self.error(at, problem, None));
                }
                let overrides = self.overrides(&mut inner, task, Some(role))?;
                recipes.insert((task.map(String::from), Some(role)), overrides);
            }
        }
        recipes.insert((task.map(String::from), None), self.overrides(&mut table, task, None)?);
        Ok(())
    }

    fn overrides(
        &self,
        table: &mut DeTable<'_>,
        task: Option<&str>,
        role: Option<Role>,
    ) -> Result<Overrides, StudyError> {
        let mut keys: Vec<&str> = Overrides::KEYS.iter().map(|key| key.name).collect();
        if role.is_none() {
            keys.extend(["intermediate", "target", "probe"]); // the tables by role, which may be misspelt, too
        }
        self.known(table, &table_name(task, role), &keys)?;
        let mut overrides = Overrides::default();
        for (key, value) in std::mem::take(table) {
            let (key, span) = (key.into_inner(), value.span());
            let wrong = |error: toml::de::Error| {
                self.error(error.span().unwrap_or_else(|| span.clone()), wrong_type(&key, &error), None)
            };
            overrides.set(&key, ValueDeserializer::from(value)).map_err(wrong)?;
            // After each value, so that what is wrong is the value at hand: those before it have passed.
            overrides.check().map_err(|error| self.error(span, error.to_string(), None))?;
        }
        Ok(overrides)
    }
}

/// Why a task cannot be listed again: twice in one role, or as both target and probe.
fn clash(tasks: &[(String, Role)], name: &str, role: Role) -> Option<String> {
    // A task may be an intermediate and also a target or a probe.
    let other = tasks.iter().find(|(other, r)| other == name && (*r == role || *r != Role::Intermediate))?.1;
    if other == role {
        return Some(format!("task `{name}` is named twice as {role}"));
    }
    Some(format!("task `{name}` is {other} and {role}, expected one of the two"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const STUDY: &str = "[study]\nname = \"tiny\"\nmodel = \"m\"\ndata = \"/d\"\n\n[tasks]\nintermediate = [\"sst2\"]\n\
                         target = [\"rte\"]\n";

    fn read(text: &str) -> Result<Study, StudyError> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("study.toml");
        fs::write(&path, text).expect("file");
        Study::read(&path, &StudyPaths::default())
    }

    #[test]
    fn relative_paths_are_relative_to_the_file_and_flags_replace_them() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("study.toml");
        fs::write(&path, STUDY).expect("file");
        let study = Study::read(&path, &StudyPaths::default()).expect("reads");
        assert_eq!(study.folders.model, folder.path().join("m"));
        assert_eq!(study.folders.data, Path::new("/d"));
        assert_eq!(study.folders.store, folder.path().join("tiny/runs"));
        assert_eq!((study.restarts, study.baseline_restarts), (3, 3));
        let paths = StudyPaths { model: Some("x".into()), out: Some("o".into()), ..StudyPaths::default() };
        let study = Study::read(&path, &paths).expect("reads");
        assert_eq!(
            (study.folders.model.as_path(), study.folders.store.as_path()),
            (Path::new("x"), Path::new("o/runs"))
        );
        assert!(study.is_unedited());
        fs::write(&path, format!("{STUDY}\n")).expect("file");
        assert!(!study.is_unedited());
    }

    #[test]
    fn layers_come_from_general_to_special() {
        let text = format!(
            "{STUDY}[recipe]\nbatch_size = 8\n[recipe.target]\nmax_dev = 5\n[task.rte]\nepochs = 2\n\
             [task.rte.target]\nmax_train = 9\n[task.sst2]\nhead = \"linear\"\n"
        );
        let layers = read(&text).expect("reads").layers("rte", Role::Target);
        let sources: Vec<String> = layers.iter().map(|layer| layer.source.to_string()).collect();
        assert_eq!(sources, ["[recipe]", "[recipe.target]", "[task.rte]", "[task.rte.target]"]);
        // An integer is accepted where a float is expected.
        assert_eq!(layers[2].overrides.epochs, Some(2.0));
        assert_eq!((layers[1].overrides.max_dev, layers[3].overrides.max_train), (Some(5), Some(9)));
    }

    #[test]
    fn a_task_is_one_however_it_is_spelt() {
        let text = STUDY.replace("sst2", "SST-2").replace("rte", "superglue_rte") + "[task.RTE]\nepochs = 2\n";
        let study = read(&text).expect("reads");
        assert_eq!(study.tasks, [("sst2".to_owned(), Role::Intermediate), ("rte".to_owned(), Role::Target)]);
        assert_eq!(study.layers("rte", Role::Target)[0].overrides.epochs, Some(2.0));
        let twice = read(&format!("{text}[task.rte]\nepochs = 3\n")).expect_err("two tables").to_string();
        assert!(twice.contains(": a second table of task `rte`, expected one"), "{twice}");
        let both = read(&STUDY.replace("\"rte\"", "\"rte\", \"RTE\"")).expect_err("twice").to_string();
        assert!(both.contains("task `rte` is named twice as target"), "{both}");
    }

    #[test]
    fn what_no_study_has_is_refused_with_its_place() {
        let table = [
            ("[study]\nnme = \"x\"", "2:1: unknown key `nme` in [study]", "did you mean `name`?"),
            ("[studies]\n", "1:2: unknown key `studies` in a study file", "did you mean `study`?"),
            (
                "[study]\nname = 3\n[tasks]\ntarget = [\"rte\"]",
                "2:8: `name`: invalid type: integer `3`, expected a string",
                "",
            ),
            ("[study]\nname = \"x\n", "2:10: invalid basic string", ""),
            ("[study]\nname = \"x\"\n[tasks]\ntarget = [\"rte2\"]", "4:11: there is no task `rte2`", "`rte`?"),
            ("[study]\n[tasks]\ntarget = [\"rte\"]\nprobe = [\"rte\"]", "4:10: task `rte` is target and probe", ""),
            ("[study]\n[tasks]\ntarget = [\"rte\", \"rte\"]", "3:18: task `rte` is named twice as target", ""),
            ("[study]\n[tasks]\nintermediate = [\"rte\"]", "2:1: [tasks] names no target", ""),
            ("[study]\n", "1:1: `tasks` is missing in the file", "init"),
            ("", "1:1: `study` is missing in the file", "init"),
            ("[study]\nrestarts = 1e9\n[tasks]\ntarget = [\"rte\"]", "1:1: `name` is missing in [study]", ""),
            ("[study]\n[tasks]\ntarget = [\"rte\"]", "1:1: `name` is missing in [study]", "init"),
        ];
        for (text, problem, hint) in table {
            let error = read(text).expect_err(text);
            assert!(error.to_string().contains(&format!("study.toml:{problem}")), "{text}: {error}");
            assert!(error.hint().unwrap_or_default().contains(hint), "{text}: {:?}", error.hint());
        }
        let more = [
            ("[recipe]\nepoch = 1", "10:1: unknown key `epoch` in [recipe]", "did you mean `epochs`?"),
            ("[recipe.target]\nlr = 1.0", "10:1: unknown key `lr` in [recipe.target]", "did you mean `learning_rate`?"),
            ("[recipe]\nnum_train_epochs = 1", "10:1: unknown key `num_train_epochs`", "did you mean `epochs`?"),
            ("[recipe]\nmax-seq-length = 1", "10:1: unknown key `max-seq-length`", "did you mean `max_length`?"),
            ("[task.rt]\nepochs = 1", "9:7: unknown key `rt` in [task]", "did you mean `rte`?"),
            ("[recipe.targt]\nepochs = 1", "9:9: unknown key `targt` in [recipe]", "did you mean `target`?"),
            ("[task.rte]\nepochs = \"many\"", "10:10: `epochs`: invalid type: string \"many\", expected a number", ""),
            (
                "[task.rte]\nmax_steps = 1.5",
                "10:13: `max_steps`: invalid type: floating point `1.5`, expected a whole",
                "",
            ),
            (
                "[recipe]\nepochs = 2\nlearning_rate = -1",
                "11:17: `learning_rate` is -1.0, expected a positive number",
                "",
            ),
            ("[recipe.target]\nepochs = 2\nmax_steps = 1", "11:13: `max_steps` is set beside epochs, expected one", ""),
            ("[task.rte.probe]\nepochs = 1", "9:1: task `rte` is not listed as probe in [tasks]", ""),
        ];
        for (text, problem, hint) in more {
            let error = read(&format!("{STUDY}{text}")).expect_err(text);
            assert!(error.to_string().contains(&format!("study.toml:{problem}")), "{text}: {error}");
            assert!(error.hint().unwrap_or_default().contains(hint), "{text}: {:?}", error.hint());
        }
        let zero = STUDY.replace("data =", "restarts = 0\ndata =");
        assert!(read(&zero).expect_err("zero").to_string().contains("4:12: `restarts` is 0, expected 1 to 1000"));
        for name in ["", "..", "../x", "a/b", "/x"] {
            let text = STUDY.replace("\"tiny\"", &format!("{name:?}"));
            let error = read(&text).expect_err(name).to_string();
            assert!(error.contains(&format!("2:8: `name` is {name:?}, expected the name of a folder")), "{error}");
        }
    }
}
