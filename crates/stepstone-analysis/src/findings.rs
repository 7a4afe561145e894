//! Findings: the conclusions that the numbers support, each with the figure or table that it is based on.

mod collapse;
mod context;
mod correlated;
mod degenerate;
mod structure;
mod transfer;

use crate::analysis::Analysis;
use crate::finding::Finding;
use context::Context;

/// Everything that can be said about an analysis, the most important first. If the study has collapsed, that comes
/// first, and findings that would rest on runs that learnt nothing are left out.
pub(crate) fn findings(analysis: &Analysis) -> Vec<Finding> {
    let context = Context { analysis, mode: analysis.options.mode, alpha: analysis.options.alpha };
    if let Some(collapse) = collapse::collapse(&context) {
        // Correlations, averages and best starts are left out: each would state as a result what luck has dealt.
        let mut found = vec![collapse];
        found.extend(transfer::gaps(&context));
        found.extend(degenerate::totals(&context));
        return found;
    }
    let mut found = transfer::findings(&context);
    found.extend(degenerate::findings(&context));
    found.extend(correlated::findings(&context));
    found.extend(structure::findings(&context));
    found
}

#[cfg(test)]
mod tests {
    use crate::analysis::Analysis;
    use crate::analyze::analyze;
    use crate::input::parse;
    use crate::observation::{Observation, Role, write_observations};
    use crate::options::{Mode, Options};
    use crate::report::{Layout, report, summary};

    /// A study of 22 runs: two intermediates with two restarts, two targets with three from every start point. The first
    /// `constant` target runs, the baseline's first, predict one label for every example.
    fn analysis(constant: usize, mode: Mode) -> Analysis {
        let mut runs = Vec::new();
        for (start, gain) in [("none", 0.0), ("mnli", 0.06), ("sst2", 0.02)] {
            for task in ["cb", "rte"] {
                for seed in 0..3 {
                    let score = 0.6 + gain + 0.01 * f64::from(seed as u8);
                    runs.push(Observation::new(start, seed, task, Role::Target, score));
                }
            }
        }
        for run in runs.iter_mut().take(constant) {
            (run.score, run.training.n_distinct_pred) = (Some(0.53), Some(1));
        }
        for start in ["mnli", "sst2"] {
            runs.extend((0..2).map(|seed| Observation::new(start, seed, start, Role::Intermediate, 0.7)));
        }
        let read = parse("o.csv", write_observations(&runs).as_bytes()).expect("a study");
        let options = Options { permutations: 9, bootstraps: 9, mode, ..Options::default() };
        analyze(&read.studies[0], &options)
    }

    fn texts(constant: usize, mode: Mode) -> Vec<String> {
        analysis(constant, mode).findings.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn a_collapsed_study_says_first_that_nothing_can_be_said_why_and_what_to_change() {
        let found = texts(16, Mode::Keep);
        insta::assert_snapshot!(found.join("\n"), @"
        Nothing can be said about these start points: 16 of 22 runs predict one label for every example, among them 6 of the 6 target runs from `none`. Differences between such runs mean nothing. Give each run more steps (`epochs` or `max_steps`), more training examples (`max_train`) or a larger `learning_rate`, or a smaller one if the loss rises, until most target runs from `none` learn their task.
        16 of 22 runs are degenerate (16 by `constant`), most from `mnli` (6 of 8). They are included here; every number is also given without them.
        ");
        assert!(texts(16, Mode::Drop)[0].starts_with("Nothing can be said"), "whatever is shown of degenerate runs");
    }

    #[test]
    fn a_collapsed_study_says_so_before_anything_else_in_every_form() {
        let analysis = analysis(16, Mode::Keep);
        let said = "Nothing can be said about these start points: 16 of 22 runs";
        let markdown = report(&analysis);
        assert!(markdown.starts_with(&format!("# Transfer\n\n## Findings\n\n- {said}")), "{markdown}");
        let terminal = summary(&analysis, Layout { width: 200, ..Layout::default() });
        assert!(terminal.starts_with(&format!("Transfer\n\n{said}")), "{terminal}");
        assert_eq!(terminal.matches("Nothing can be said").count(), 1, "{terminal}");
        let json = serde_json::to_string(&analysis).expect("numbers and texts only");
        let first = format!(r#""encoder":"","findings":[{{"topic":"collapse","text":"{said}"#);
        assert!(json.find(&first).is_some_and(|place| place < 100), "{json}");
    }

    #[test]
    fn symptoms_of_several_kinds_are_counted_one_by_one() {
        let mut text =
            String::from("intermediate,seed,task,role,score,n_dev,majority_score,n_distinct_pred,degenerate\n");
        for row in [
            "none,0,rte,target,0.5,100,0.5,1,",
            "none,1,rte,target,0.5,100,0.5,,",
            "none,2,rte,target,0.7,100,0.5,2,true",
        ] {
            text.extend([row, "\n", &row.replace("none", "mnli"), "\n"]);
        }
        let read = parse("o.csv", text.as_bytes()).expect("a study");
        let options = Options { permutations: 0, bootstraps: 0, ..Options::default() };
        let found = analyze(&read.studies[0], &options).findings.remove(0).text;
        let want = "6 of 6 runs learnt nothing (2 predict one label for every example, 2 score no better than the most common label \
            and 2 are marked as degenerate in the file), among them 3 of the 3 target runs from `none`.";
        assert!(found.contains(want), "{found}");
    }

    #[test]
    fn a_study_that_learnt_is_not_called_collapsed() {
        // 6: the baseline alone collapsed, which makes training from an intermediate a result. 9: just one half.
        for constant in [0, 3, 6, 9] {
            let found = texts(constant, Mode::Keep);
            assert!(found.iter().all(|text| !text.contains("Nothing can be said")), "{constant}: {found:?}");
            assert!(found.len() > 2, "{constant}: {found:?}");
        }
        assert!(texts(10, Mode::Keep)[0].starts_with("Nothing can be said"), "more than half");
    }
}
