//! SuperGLUE (Wang et al. 2019): BoolQ, CB, COPA.

use crate::example::Text;
use crate::metric::Metric;
use crate::row::{Object, Row};
use crate::task::{Columns, Fields, Hub, Layout, Task, TaskFiles, TaskHead};

const TRAIN: &[&str] = &["train.jsonl"];
// SuperGLUE itself names the dev split `val`, so that name is tried first.
const DEV: &[(&str, &[&str])] = &[("", &["val.jsonl", "dev.jsonl"])];

const fn json(fields: Fields<&'static str>) -> Layout {
    Layout { extension: "jsonl", columns: Columns::Json(fields) }
}

/// One row per task.
pub(super) const TASKS: &[Task] = &[
    Task {
        name: "boolq",
        citation: "Clark et al. 2019, BoolQ: Exploring the Surprising Difficulty of Natural Yes/No Questions",
        licence: "CC BY-SA 3.0",
        hub: Some(Hub { dataset: "aps/super_glue", config: "boolq" }),
        files: TaskFiles {
            folders: &["boolq", "BoolQ", "superglue_boolq"],
            train: TRAIN,
            dev: DEV,
            // The passage comes first, as in the ACL 2020 study.
            layouts: &[json(Fields { id: Some("idx"), text: "passage", pair: Some("question"), label: "label" })],
            companion: None,
            known_bad: None,
        },
        head: TaskHead::Classification,
        // The files hold JSON booleans, which are read as their text.
        labels: &["false", "true"],
        metric: Metric::AccuracyF1,
    },
    Task {
        name: "cb",
        citation: "De Marneffe, Simons and Tonhauser 2019, The CommitmentBank",
        licence: "research use (SuperGLUE redistribution)",
        hub: Some(Hub { dataset: "aps/super_glue", config: "cb" }),
        files: TaskFiles {
            folders: &["cb", "CB", "superglue_cb"],
            train: TRAIN,
            dev: DEV,
            layouts: &[json(Fields { id: Some("idx"), text: "premise", pair: Some("hypothesis"), label: "label" })],
            companion: None,
            known_bad: None,
        },
        head: TaskHead::Classification,
        // The class ids of the ACL 2020 study's code; the hub's copy of the data numbers them differently.
        labels: &["neutral", "entailment", "contradiction"],
        metric: Metric::MacroF1,
    },
    Task {
        name: "copa",
        citation: "Roemmele, Bejan and Gordon 2011, Choice of Plausible Alternatives",
        licence: "BSD 2-clause",
        hub: Some(Hub { dataset: "aps/super_glue", config: "copa" }),
        files: TaskFiles {
            folders: &["copa", "COPA", "superglue_copa"],
            train: TRAIN,
            dev: DEV,
            layouts: &[Layout { extension: "jsonl", columns: Columns::JsonBy(copa) }],
            companion: None,
            known_bad: None,
        },
        head: TaskHead::MultipleChoice,
        labels: &["0", "1"],
        metric: Metric::Accuracy,
    },
];

/// Each choice becomes the pair (premise, question and choice). Source: the wording of the ACL 2020 study.
fn copa(object: &Object<'_>) -> Result<Row, String> {
    let question = match object.text("question")?.as_str() {
        "cause" => "What was the cause of this?",
        "effect" => "What happened as a result?",
        other => return Err(format!("question `{other}`, expected `cause` or `effect`")),
    };
    let premise = object.text("premise")?;
    let choice = |field| Ok((premise.clone(), format!("{question} {}", object.text(field)?)));
    let choices = ["choice1", "choice2"].into_iter().map(choice).collect::<Result<_, String>>()?;
    Ok(Row { id: object.optional("idx"), text: Text::Choices(choices), label: object.optional("label"), remark: None })
}
