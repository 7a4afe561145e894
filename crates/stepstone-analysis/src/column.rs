//! The 25 columns of observations.csv, in the order in which they are written.

/// A column of observations.csv; docs/observations.md says what each one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Study,
    RunId,
    Encoder,
    Intermediate,
    Seed,
    Task,
    Role,
    Metric,
    Primary,
    Score,
    Scale,
    HigherIsBetter,
    NTrain,
    NDev,
    NClasses,
    MajorityScore,
    NIntermediate,
    Steps,
    FinalTrainLoss,
    NDistinctPred,
    Degenerate,
    DegenerateReason,
    Status,
    WallSeconds,
    Recipe,
}

/// Kind of content of a column, which decides when two of its cells are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// A name or id, compared byte by byte.
    Text,
    /// A number; empty and not finite both mean "missing".
    Number,
    /// True or false, and what an empty cell means.
    Flag(bool),
    /// A word or free text, and what an empty cell means; spaces around it are ignored.
    Word(&'static str),
}

impl Column {
    /// Number of columns.
    pub(crate) const COUNT: usize = 25;

    /// Every column in the order of the file; that of the variants, so that `column as usize` is the place.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Study,
        Self::RunId,
        Self::Encoder,
        Self::Intermediate,
        Self::Seed,
        Self::Task,
        Self::Role,
        Self::Metric,
        Self::Primary,
        Self::Score,
        Self::Scale,
        Self::HigherIsBetter,
        Self::NTrain,
        Self::NDev,
        Self::NClasses,
        Self::MajorityScore,
        Self::NIntermediate,
        Self::Steps,
        Self::FinalTrainLoss,
        Self::NDistinctPred,
        Self::Degenerate,
        Self::DegenerateReason,
        Self::Status,
        Self::WallSeconds,
        Self::Recipe,
    ];

    /// The columns that a file must have.
    pub(crate) const REQUIRED: [Self; 5] = [Self::Intermediate, Self::Seed, Self::Task, Self::Role, Self::Score];

    /// The column of a name in a header.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        // Case matters, as it does in pandas; the error for a missing column names the nearest one found.
        Self::ALL.into_iter().find(|column| column.name() == name)
    }

    /// Its name in the header.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Study => "study",
            Self::RunId => "run_id",
            Self::Encoder => "encoder",
            Self::Intermediate => "intermediate",
            Self::Seed => "seed",
            Self::Task => "task",
            Self::Role => "role",
            Self::Metric => "metric",
            Self::Primary => "primary",
            Self::Score => "score",
            Self::Scale => "scale",
            Self::HigherIsBetter => "higher_is_better",
            Self::NTrain => "n_train",
            Self::NDev => "n_dev",
            Self::NClasses => "n_classes",
            Self::MajorityScore => "majority_score",
            Self::NIntermediate => "n_intermediate",
            Self::Steps => "steps",
            Self::FinalTrainLoss => "final_train_loss",
            Self::NDistinctPred => "n_distinct_pred",
            Self::Degenerate => "degenerate",
            Self::DegenerateReason => "degenerate_reason",
            Self::Status => "status",
            Self::WallSeconds => "wall_seconds",
            Self::Recipe => "recipe",
        }
    }

    /// Kind of content of its cells.
    pub(crate) fn content(self) -> Content {
        match self {
            Self::Study
            | Self::RunId
            | Self::Encoder
            | Self::Intermediate
            | Self::Task
            | Self::Metric
            | Self::Recipe => Content::Text,
            Self::Seed
            | Self::Score
            | Self::Scale
            | Self::NTrain
            | Self::NDev
            | Self::NClasses
            | Self::MajorityScore
            | Self::NIntermediate
            | Self::Steps
            | Self::FinalTrainLoss
            | Self::NDistinctPred
            | Self::WallSeconds => Content::Number,
            // Files without these columns hold one metric per run, and of nearly all metrics more is better.
            Self::Primary | Self::HigherIsBetter => Content::Flag(true),
            Self::Degenerate => Content::Flag(false),
            Self::Status => Content::Word("ok"),
            Self::Role | Self::DegenerateReason => Content::Word(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_at_their_own_place_and_are_found_by_name() {
        for (place, column) in Column::ALL.into_iter().enumerate() {
            assert_eq!((column as usize, Column::parse(column.name())), (place, Some(column)));
        }
        assert_eq!(Column::parse("Seed"), None, "names are compared byte by byte");
    }

    #[test]
    fn the_documentation_describes_every_column_in_the_order_of_the_file() {
        let page = include_str!("../../../docs/observations.md");
        let rows = page.lines().skip_while(|line| !line.starts_with("| column |")).skip(2);
        let described: Vec<&str> =
            rows.map_while(|line| line.strip_prefix("| ")).filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(described, Column::ALL.map(Column::name));
    }
}
