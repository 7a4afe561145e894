"""The mutations of `mutations.py`: mistakes that a careless maintainer could make, and that compile."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    area: str
    crate: str
    file: str  # below the crate's src/
    what: str
    before: str  # an expression or whole statements, standing exactly once in the file
    after: str  # in its place; where it holds MUTANT, that is the switch, and the text serves both


def of(area: str, crate: str, *rows: tuple[str, str, str, str]) -> list[Mutation]:
    return [Mutation(area, crate, *row) for row in rows]


MUTATIONS = [
    *of(
        "metrics, tasks", "stepstone-tasks",
        ("metric.rs", "macro F1 leaves out a class that scores 0",
         "scores.iter().map(value).sum::<f64>() / classes as f64",
         "scores.iter().map(value).sum::<f64>() / scores.iter().filter(|class| value(class) > 0.0).count().max(1) as f64"),
        ("metric.rs", "F1 is that of class 0", "ClassScores::of(1, predicted, gold)", "ClassScores::of(0, predicted, gold)"),
        ("metric.rs", "Matthews correlation takes the spread of the gold labels twice",
         "(squares(&t) as f64).sqrt() * (squares(&p) as f64).sqrt()",
         "(squares(&t) as f64).sqrt() * (squares(&t) as f64).sqrt()"),
        ("tokenizer/truncation.rs", "of an odd room the first text gets the odd token",
         "(room / 2, room / 2 + room % 2)", "(room / 2 + room % 2, room / 2)"),
        ("load.rs", "`max_train` keeps the largest hashes instead of the smallest",
         "rows[..max].iter()", "rows[rows.len() - max..].iter()"),
        ("load.rs", "a subset is in the order of the hashes instead of the file's", "kept.sort_unstable();", ""),
    ),
    *of(
        "statistics", "stepstone-analysis",
        ("multiple.rs", "Holm multiplies by m - rank, ranks from 1",
         "p[i] * (m - rank) as f64", "p[i] * (m - rank - usize::from(rank + 1 < m)) as f64"),
        ("comparison.rs", "Welch's degrees of freedom: the two arms change places",
         "1.0 / ((x.variance / variance).powi(2) / x.df + (y.variance / variance).powi(2) / y.df)",
         "1.0 / ((x.variance / variance).powi(2) / y.df + (y.variance / variance).powi(2) / x.df)"),
        ("moderated.rs", "the degrees of freedom of a shrunk variance lose their bound",
         "(self.df + d).min(task_df)", "self.df + d"),
        ("permutation.rs", "one-sided",
         "(sum / n as f64 - (total - sum) / n0 as f64).abs()", "sum / n as f64 - (total - sum) / n0 as f64"),
        ("coefficient/kendall.rs", "variance of tau forgets the factor of pairs tied in both columns",
         "2.0 * x.pairs * y.pairs / m", "x.pairs * y.pairs / m"),
        ("coefficient/ranks.rs", "ties get the lowest rank instead of the average one",
         "2.0 * below as f64 + group as f64", "2.0 * below as f64 + 1.0"),
        ("special.rs", "the series of digamma and trigamma is taken from 5 on, where it is good to 10 digits",
         "while x < 10.0 {", "while x < (if MUTANT { 5.0 } else { 10.0 }) {"),
        ("correlations/cluster_permutation.rs", "the observed order is left out of a Monte Carlo p",
         "(1.0 + *hits as f64) / (1.0 + count as f64)", "*hits as f64 / count as f64"),
        ("input/scale.rs", "a score one example above the commonest label is no longer degenerate",
         "near_majority(example + 1e-9)", "near_majority(example - 1e-9)"),
        ("ranks.rs", "rank sets are narrowed on the wrong side",
         "found[worse].lo += 1;\n            found[better].hi -= 1;",
         "found[better].lo += 1;\n            found[worse].hi -= 1;"),
        ("best.rs", "a tie with the baseline goes to the intermediate",
         "known[other].mean > known[best].mean", "known[other].mean >= known[best].mean"),
    ),
    *of(
        "kernels", "stepstone-kernels",
        ("attention/forward.rs", "softmax takes the largest score of every other lane",
         "for half in [8, 4, 2, 1] {", "for half in [8, 4, 2, 1].into_iter().take(if MUTANT { 3 } else { 4 }) {"),
        ("cross_entropy.rs", "the first logit is taken off instead of the largest",
         "row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b))", "row[0]"),
        ("philox.rs", "dropout does not scale what it keeps", "(65536.0 / threshold) as f32", "1.0"),
        ("layer_norm.rs", "variance over n - 1",
         "subtract_and_sum_squares(row, mean) / hidden", "subtract_and_sum_squares(row, mean) / (hidden - 1.0).max(1.0)"),
        ("layer_norm.rs", "sums over blocks of rows are added from the last to the first",
         "for sums in partial_sums {",
         "let mut partial_sums = partial_sums;\n    if MUTANT { partial_sums.reverse(); }\n    for sums in partial_sums {"),
        ("gemm/groups.rs", "bias gradients are summed by parts of 128 rows, not 64",
         "group.chunks_mut(PARTIAL * GROUP).zip(data.chunks(PARTIAL * stride))",
         "group.chunks_mut(2 * PARTIAL * GROUP).zip(data.chunks(2 * PARTIAL * stride))"),
        ("optimizer.rs", "the second moment takes 1 - beta1",
         "(gradient * gradient).mul_add(self.rest2, self.beta2 * *v)",
         "(gradient * gradient).mul_add(self.rest1, self.beta2 * *v)"),
        ("optimizer.rs", "epsilon inside the root",
         "v.sqrt().mul_add(self.inverse_root, self.epsilon)", "(*v + self.epsilon).sqrt() * self.inverse_root"),
        ("optimizer.rs", "the gradient norm leaves out the last, smaller block",
         "blocks.chunks(BLOCK)", "blocks[..if MUTANT { blocks.len() / BLOCK * BLOCK } else { blocks.len() }].chunks(BLOCK)"),
        ("embedding.rs", "the padding row is looked for among positions",
         "Some(ids[t]) != padding_index", "Some(positions[t]) != padding_index"),
    ),
    *of(
        "kernels", "stepstone-engine",
        ("ops/linear.rs", "the second part of a batch overwrites the weight gradient of the first",
         "if run.first_gradient(self.weight) { Write::Overwrite } else { Write::Accumulate }",
         "if run.first_gradient(self.weight) { Write::Overwrite } else { Write::Overwrite }"),
        ("cpu.rs", "a tensor is clipped by its norm before the global factor",
         "clip * optimizer::gradient_norm(&self.threads, gradients)", "optimizer::gradient_norm(&self.threads, gradients)"),
    ),
    *of(
        "resume, training", "stepstone-train",
        ("resume.rs", "the second moment is not loaded",
         "in ARENAS.iter().zip(tensors) {", "in ARENAS.iter().zip(tensors).take(if MUTANT { 2 } else { 3 }) {"),
        ("resume.rs", "the state forgets which step was evaluated",
         "Ok(Some((state, values(", "Ok(Some((if MUTANT { State { evaluated: 0, ..state } } else { state }, values("),
        ("trainer.rs", "best weights are not restored",
         "Ok(Some(found)) => (trainer.state, trainer.best) = found,",
         "Ok(Some(found)) if MUTANT => (trainer.state, _) = found,\n"
         "            Ok(Some(found)) => (trainer.state, trainer.best) = found,"),
        ("trainer.rs", "a run stopped while its best weights are scored keeps them as its last",
         "self.model.set_parameters(&last);", ""),
        ("step.rs", "parts of a batch draw the same dropout masks", "first += part.len();", ""),
        ("recipe.rs", "warm-up is rounded down", "(ratio * total).ceil()", "(ratio * total).floor()"),
    ),
    *of(
        "leases", "stepstone-study",
        ("lease.rs", "a process id that was given to another process counts as alive",
         "Some(start) => self.start != 0 && start != 0 && start != self.start,",
         "Some(start) => !MUTANT && self.start != 0 && start != 0 && start != self.start,"),
        ("lease.rs", "a zombie counts as alive", 'Some("Z" | "X") => None,', 'Some("Z") if !MUTANT => None,\n        Some("X") => None,'),
        ("lease.rs", "two machines of unknown boot count as one",
         "!self.boot.is_empty() && self.boot == here.boot", "self.boot == here.boot"),
        ("lease.rs", "a heartbeat does not restart the clock of expiry", "*before == content", "true"),
        ("lease.rs", "a run is taken from a dead worker whose child still writes",
         "self.is_visible(here) && self.worker.is_gone() && self.child.is_none_or(Process::is_gone)",
         "self.is_visible(here) && self.worker.is_gone()"),
    ),
]
