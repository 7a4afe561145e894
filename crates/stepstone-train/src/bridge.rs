//! Translates between tasks and models, because neither of the two crates knows the other.

use crate::batches::PackShape;
use stepstone_models::{Answers, EncoderConfig, Family};
use stepstone_tasks::{Task, TaskHead, TokenizerFamily};

/// The answers among which a model of this task decides.
pub(crate) fn answers(task: &Task, labels: usize) -> Answers {
    match task.head {
        TaskHead::Classification => Answers::Classes(labels),
        TaskHead::MultipleChoice => Answers::Choices(labels),
    }
}

/// How the tokenizer files of an encoder of this family are read.
pub fn tokenizer_family(family: Family) -> TokenizerFamily {
    match family {
        Family::Bert => TokenizerFamily::Bert,
        Family::Roberta => TokenizerFamily::Roberta,
    }
}

/// How the inputs of this encoder are packed.
pub(crate) fn pack_shape(config: &EncoderConfig) -> PackShape {
    // RoBERTa's tokenizer marks no second segment even if the table of a converted model has two rows.
    let one_segment = config.family == Family::Roberta || config.embeddings.type_vocab_size == 1;
    PackShape { position_offset: config.position_offset(), one_segment }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_encoder_of_bert_with_two_segments_sees_the_second() {
        let bert = EncoderConfig::read(&stepstone_fixtures::encoder("bert")).expect("a config");
        for (family, segments, want) in
            [(Family::Bert, 2, false), (Family::Bert, 1, true), (Family::Roberta, 1, true), (Family::Roberta, 2, true)]
        {
            let mut config = EncoderConfig { family, ..bert.clone() };
            config.embeddings.type_vocab_size = segments;
            assert_eq!(pack_shape(&config).one_segment, want, "{family:?} with {segments} segments");
        }
    }

    #[test]
    fn classes_and_choices_are_told_apart_by_the_task() {
        for (name, want) in [("mnli", Answers::Classes(3)), ("copa", Answers::Choices(3))] {
            assert_eq!(answers(stepstone_tasks::find(name).expect(name), 3), want, "{name}");
        }
    }
}
