//! Metrics of classification tasks, as fractions from 0 to 1; the correlation ranges from -1 to 1.

use serde::{Deserialize, Serialize};

/// The primary metric of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of correct predictions.
    Accuracy,
    /// Mean of accuracy and the F1 of class 1.
    AccuracyF1,
    /// Unweighted mean of the F1 of each class; a class that is neither gold nor predicted counts as 0.
    MacroF1,
    /// Matthews correlation coefficient over all classes (Gorodkin 2004); 0 where undefined.
    MatthewsCorrelation,
}

/// A score with its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedScore {
    /// The metric's name.
    pub name: String,
    /// Its value.
    pub value: f64,
}

impl Metric {
    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::AccuracyF1 => "accuracy_f1",
            Self::MacroF1 => "macro_f1",
            Self::MatthewsCorrelation => "matthews_correlation",
        }
    }

    /// The primary score first, then its components or related scores. `predicted` and `gold` are class ids.
    pub fn score(self, predicted: &[u32], gold: &[u32], classes: usize) -> Vec<NamedScore> {
        let named = |name: &str, value| NamedScore { name: name.into(), value };
        let accuracy = named("accuracy", accuracy(predicted, gold));
        match self {
            Self::Accuracy => vec![accuracy],
            Self::AccuracyF1 => {
                // Class 1 is the positive class of every task with this metric: a duplicate, a true answer, an
                // acceptable text.
                let positive = ClassScores::of(1, predicted, gold);
                let both = named(self.name(), f64::midpoint(accuracy.value, positive.f1()));
                let parts = [("f1", positive.f1()), ("precision", positive.precision), ("recall", positive.recall)];
                [both, accuracy].into_iter().chain(parts.map(|(name, value)| named(name, value))).collect()
            }
            Self::MacroF1 => {
                let scores: Vec<_> = (0..classes as u32).map(|c| ClassScores::of(c, predicted, gold)).collect();
                let mean = |value: fn(&ClassScores) -> f64| scores.iter().map(value).sum::<f64>() / classes as f64;
                vec![
                    named(self.name(), mean(ClassScores::f1)),
                    accuracy,
                    named("macro_precision", mean(|class| class.precision)),
                    named("macro_recall", mean(|class| class.recall)),
                ]
            }
            Self::MatthewsCorrelation => vec![named(self.name(), matthews(predicted, gold, classes)), accuracy],
        }
    }

    /// Score of the best constant prediction.
    pub fn majority_score(self, gold: &[u32], classes: usize) -> f64 {
        // Every class is tried: under F1 the best constant prediction need not be the most frequent class.
        let constant = |class| self.score(&vec![class; gold.len()], gold, classes)[0].value;
        (0..classes as u32).map(constant).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// Precision and recall of one class against the rest, 0 where undefined.
struct ClassScores {
    precision: f64,
    recall: f64,
}

impl ClassScores {
    fn of(class: u32, predicted: &[u32], gold: &[u32]) -> Self {
        let count = |list: &[u32]| list.iter().filter(|c| **c == class).count();
        let right = predicted.iter().zip(gold).filter(|(p, g)| **p == class && **g == class).count();
        let share = |of: usize| if of == 0 { 0.0 } else { right as f64 / of as f64 };
        Self { precision: share(count(predicted)), recall: share(count(gold)) }
    }

    /// 2PR / (P + R), 0 where both are 0.
    fn f1(&self) -> f64 {
        let sum = self.precision + self.recall;
        if sum == 0.0 { 0.0 } else { 2.0 * self.precision * self.recall / sum }
    }
}

/// Share of equal entries; 0 for empty lists.
fn accuracy(predicted: &[u32], gold: &[u32]) -> f64 {
    let right = predicted.iter().zip(gold).filter(|(p, g)| p == g).count();
    right as f64 / gold.len().max(1) as f64
}

/// `(N trace - sum t p) / sqrt((N^2 - sum t^2)(N^2 - sum p^2))`, in exact integers up to the square root.
fn matthews(predicted: &[u32], gold: &[u32], classes: usize) -> f64 {
    let count = |list: &[u32]| {
        let mut counts = vec![0i128; classes];
        list.iter().for_each(|class| counts[*class as usize] += 1);
        counts
    };
    let (p, t, n) = (count(predicted), count(gold), gold.len() as i128);
    let trace = predicted.iter().zip(gold).filter(|(p, g)| p == g).count() as i128;
    let products: i128 = p.iter().zip(&t).map(|(p, t)| p * t).sum();
    let squares = |counts: &[i128]| n * n - counts.iter().map(|c| c * c).sum::<i128>();
    let denominator = (squares(&t) as f64).sqrt() * (squares(&p) as f64).sqrt();
    // The denominator is zero if all predictions or all labels are one class; scikit-learn gives 0 then as well.
    if denominator == 0.0 { 0.0 } else { (n * trace - products) as f64 / denominator }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from matthews_corrcoef and accuracy_score of scikit-learn 1.9.1.
    #[test]
    fn scores_equal_scikit_learn() {
        type Row = (&'static [u32], &'static [u32], usize, f64, f64);
        let table: &[Row] = &[
            (&[1, 1, 0, 0], &[1, 1, 0, 0], 2, 1.0, 1.0),
            (&[0, 0, 1, 1], &[1, 1, 0, 0], 2, -1.0, 0.0),
            (&[1, 1, 1, 1], &[1, 0, 1, 0], 2, 0.0, 0.5), // only one class predicted: 0 by convention
            (&[1, 0, 1, 1, 0], &[1, 0, 0, 1, 1], 2, 0.166_666_666_666_666_66, 0.6),
            (&[0, 1, 2, 2, 1, 0, 0], &[0, 1, 2, 1, 1, 2, 0], 3, 0.593_75, 0.714_285_714_285_714_3),
            (&[1, 0, 0, 0, 0, 0], &[1, 1, 0, 0, 1, 0], 2, 0.447_213_595_499_957_9, 2.0 / 3.0), // unbalanced classes
            (&[], &[], 2, 0.0, 0.0), // no examples: 0 by our convention
        ];
        for (predicted, gold, classes, correlation, accuracy) in table {
            let scores = Metric::MatthewsCorrelation.score(predicted, gold, *classes);
            assert!((scores[0].value - correlation).abs() < 1e-12, "{predicted:?} and {gold:?}: {scores:?}");
            assert!((scores[1].value - accuracy).abs() < 1e-12, "{predicted:?} and {gold:?}: {scores:?}");
        }
        assert_eq!(Metric::Accuracy.majority_score(&[0, 1, 1, 2], 3), 0.5);
        assert_eq!(Metric::MatthewsCorrelation.majority_score(&[0, 1, 1], 2), 0.0);
    }

    /// Expected values from f1_score, precision_score and recall_score of class 1, scikit-learn 1.9.1, zero_division=0.
    #[test]
    fn the_scores_of_the_positive_class_equal_scikit_learn() {
        type Positive = (&'static [u32], &'static [u32], [f64; 4]);
        let table: &[Positive] = &[
            (&[1, 1, 0, 0], &[1, 1, 0, 0], [1.0; 4]),
            (&[0, 0, 1, 1], &[1, 1, 0, 0], [0.0; 4]),
            (&[1, 1, 1, 1], &[1, 0, 1, 0], [0.583_333_333_333_333_3, 0.666_666_666_666_666_6, 0.5, 1.0]),
            (&[0, 0, 0], &[1, 0, 1], [0.166_666_666_666_666_66, 0.0, 0.0, 0.0]),
            (&[1, 0, 1, 1, 0], &[1, 0, 0, 1, 1], [0.633_333_333_333_333_3, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0]),
        ];
        for (predicted, gold, want) in table {
            let scores = Metric::AccuracyF1.score(predicted, gold, 2);
            let got = [0, 2, 3, 4].map(|place| scores[place].value);
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12), "{predicted:?} and {gold:?}: {scores:?}");
        }
        assert_eq!(Metric::AccuracyF1.majority_score(&[0, 1, 1], 2), f64::midpoint(2.0 / 3.0, 0.8));
    }

    /// The same with average="macro" over all labels.
    #[test]
    fn macro_scores_equal_scikit_learn() {
        let table: &[(&[u32], &[u32], [f64; 3])] = &[
            (&[0, 1, 2, 2, 1, 0, 0], &[0, 1, 2, 1, 1, 2, 0], [0.7, 0.722_222_222_222_222_2, 0.722_222_222_222_222_2]),
            (&[0, 0, 0, 0], &[0, 1, 2, 0], [0.222_222_222_222_222_2, 1.0 / 6.0, 1.0 / 3.0]),
            (&[0, 1, 0, 1], &[0, 1, 1, 1], [0.488_888_888_888_888_9, 0.5, 0.555_555_555_555_555_5]), // no class 2
            (&[2, 2, 1], &[0, 1, 2], [0.0; 3]),
        ];
        for (predicted, gold, want) in table {
            let scores = Metric::MacroF1.score(predicted, gold, 3);
            let got = [0, 2, 3].map(|place| scores[place].value);
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12), "{predicted:?} and {gold:?}: {scores:?}");
        }
    }
}
