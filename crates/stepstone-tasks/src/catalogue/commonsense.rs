//! Questions with choices about everyday knowledge: CommonsenseQA, HellaSwag, SocialIQA.
//!
//! The texts of their rows are pinned in tests/it/catalogue.rs, refusals in tests/it/forms.rs.

use crate::example::Text;
use crate::metric::Metric;
use crate::row::{Object, Row};
use crate::task::{Columns, Companion, Hub, Layout, Task, TaskFiles, TaskHead};

/// One row per task.
pub(super) const TASKS: &[Task] = &[
    Task {
        name: "commonsenseqa",
        citation: "Talmor et al. 2019, CommonsenseQA",
        licence: "MIT",
        hub: Some(Hub { dataset: "tau/commonsense_qa", config: "default" }),
        files: TaskFiles {
            folders: &["commonsenseqa", "CommonsenseQA", "csqa"],
            train: &["train_rand_split.jsonl"],
            dev: &[("", &["dev_rand_split.jsonl"])],
            layouts: &[Layout { extension: "jsonl", columns: Columns::JsonBy(commonsenseqa) }],
            companion: None,
            known_bad: None,
        },
        head: TaskHead::MultipleChoice,
        labels: &["A", "B", "C", "D", "E"],
        metric: Metric::Accuracy,
    },
    Task {
        name: "hellaswag",
        citation: "Zellers et al. 2019, HellaSwag: Can a Machine Really Finish Your Sentence?",
        licence: "MIT",
        hub: Some(Hub { dataset: "Rowan/hellaswag", config: "default" }),
        files: TaskFiles {
            folders: &["hellaswag", "HellaSwag"],
            train: &["hellaswag_train.jsonl"],
            dev: &[("", &["hellaswag_val.jsonl"])],
            layouts: &[Layout { extension: "jsonl", columns: Columns::JsonBy(hellaswag) }],
            companion: None,
            known_bad: None,
        },
        head: TaskHead::MultipleChoice,
        labels: &["0", "1", "2", "3"],
        metric: Metric::Accuracy,
    },
    Task {
        name: "socialiqa",
        citation: "Sap et al. 2019, Social IQa: Commonsense Reasoning about Social Interactions",
        licence: "CC BY 4.0",
        hub: Some(Hub { dataset: "allenai/social_i_qa", config: "default" }),
        files: TaskFiles {
            folders: &["socialiqa", "SocialIQA", "socialIQa_v1.4"],
            train: &["train.jsonl", "socialIQa_v1.4_trn.jsonl"],
            dev: &[("", &["dev.jsonl", "socialIQa_v1.4_dev.jsonl"])],
            layouts: &[Layout { extension: "jsonl", columns: Columns::JsonBy(socialiqa) }],
            // The companion file numbers the answers; rows of version 1.4 name the answer by its letter instead.
            companion: Some(Companion::Labels(&["1", "2", "3"])),
            known_bad: None,
        },
        head: TaskHead::MultipleChoice,
        labels: &["A", "B", "C"],
        metric: Metric::Accuracy,
    },
];

/// Each choice becomes the pair (`Q:` and the question, `A:` and the choice), in the order of the labels.
fn commonsenseqa(object: &Object<'_>) -> Result<Row, String> {
    let Some(question) = object.0.get("question").and_then(serde_json::Value::as_object).map(Object) else {
        return Err("no field `question`, expected an object with `stem` and `choices`".into());
    };
    // No space follows the colons, as in the code of the ACL 2020 study: a space would change the tokens.
    let stem = format!("Q:{}", question.text("stem")?);
    let mut choices = Vec::new();
    for choice in question.list("choices")? {
        let choice = Object(choice.as_object().ok_or("a choice is not an object")?);
        choices.push((choice.text("label")?, choice.text("text")?));
    }
    // Choices are sorted by label, so that the class id of a label does not depend on their order in the file.
    choices.sort();
    let labels: Vec<&str> = choices.iter().map(|(label, _)| label.as_str()).collect();
    // With a gap in the letters, later choices would get the class id of another label. That there are five is checked in
    // read.rs, as for every multiple-choice task.
    if !labels.iter().zip('A'..).all(|(label, letter)| *label == letter.to_string()) {
        return Err(format!("choices labelled `{}`, expected `A` and the letters after it", labels.join("`, `")));
    }
    let pairs = choices.into_iter().map(|(_, text)| (stem.clone(), format!("A:{text}"))).collect();
    let label = object.optional("answerKey");
    Ok(Row { id: object.optional("id"), text: Text::Choices(pairs), label, remark: None })
}

/// Each ending becomes the pair (context, start of the last sentence and the ending). Source: `HellaSwagTask` in the code of
/// the ACL 2020 study.
fn hellaswag(object: &Object<'_>) -> Result<Row, String> {
    let ending = |ending: &serde_json::Value| {
        let text = ending.as_str().map(str::trim).filter(|text| !text.is_empty());
        text.map(String::from).ok_or_else(|| "an ending is empty or not text, expected text".to_owned())
    };
    let endings = object.list("endings")?.iter().map(ending).collect::<Result<Vec<_>, _>>()?;
    // A file with only `ctx` is accepted with a note, because `ctx` cannot be split without guessing.
    let (context, beginning, remark) = if let Some(context) = object.optional("ctx_a") {
        (context, object.optional("ctx_b").unwrap_or_default(), None)
    } else {
        let remark = "have no `ctx_a` and `ctx_b`: the context is `ctx`, and each choice is an ending alone";
        (object.text("ctx")?, String::new(), Some(remark))
    };
    // `ctx_b` is empty if the context ends with a whole sentence; without `trim` the ending would begin with a space,
    // which byte-level tokenizers see.
    let pair = |ending: String| (context.clone(), format!("{beginning} {ending}").trim().to_owned());
    let text = Text::Choices(endings.into_iter().map(pair).collect());
    Ok(Row { id: object.optional("ind"), text, label: object.optional("label"), remark })
}

/// Each answer becomes the pair (context, question and answer). Source: the code of the ACL 2020 study; jiant 2.0, for one,
/// joins the question to the context.
fn socialiqa(object: &Object<'_>) -> Result<Row, String> {
    let (context, question) = (object.text("context")?, object.text("question")?);
    let choice = |field| Ok((context.clone(), format!("{question} {}", object.text(field)?)));
    let choices = ["answerA", "answerB", "answerC"].into_iter().map(choice).collect::<Result<_, String>>()?;
    Ok(Row { id: None, text: Text::Choices(choices), label: object.optional("correct"), remark: None })
}
