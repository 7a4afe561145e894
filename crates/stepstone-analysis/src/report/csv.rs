//! The exports for pandas: one line per cell, average and correlation in each mode, with the names of the JSON.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::analysis::Analysis;
use crate::observation::push_field;
use crate::options::Mode;

// The columns are listed by hand, so that a new field of the JSON enters a file only on purpose.
const CELLS: &str = "mode,intermediate,task,role,status,n_failed,n_degenerate,n_degenerate_base,n,n_base,mean,sd,base_mean,\
    base_sd,delta,se,df,lo,hi,t,p,p_holm,p_bh,p_perm,welch_se,welch_df,welch_lo,welch_hi,welch_p,degenerate_part,\
    degenerate_fraction";
const AVERAGES: &str = "mode,intermediate,n_tasks,complete,mean_all,mean,wins,se,df,lo,hi,p,se_method,task_var,gen_se,gen_df,\
    gen_lo,gen_hi,p_holm,expected_rank,rank_lo,rank_hi";
const CORRELATIONS: &str = "mode,x,y,kind,n,rho,p,reason,pearson,p_pearson,tau_b,p_tau,k,rho_means,p_means,lo_means,hi_means,\
    r_within,p_within,between_share,p_perm,perm_on,p_maxt,boot_lo,boot_hi,rho_partial,p_partial,loo_min,loo_max,loo_name,\
    loo_decisive,holm_distinct,bh_distinct,holm_means,bh_means,holm_acl2020";

const MODES: [Mode; 2] = [Mode::Keep, Mode::Drop];

/// `cells.csv`: every cell in both modes. Numbers that are undefined are empty, infinite df are `inf`.
pub fn cells(analysis: &Analysis) -> String {
    let mut table = Export::new(CELLS);
    for mode in MODES {
        for cell in &analysis.cells {
            let mut row = object(cell);
            row.remove("keep");
            row.remove("drop");
            row.extend(cell.difference(mode).map(object).unwrap_or_default());
            table.push(mode, row);
        }
    }
    table.text
}

/// `averages.csv`: the average of every intermediate in both modes.
pub fn averages(analysis: &Analysis) -> String {
    let mut table = Export::new(AVERAGES);
    for mode in MODES {
        analysis.modes.of(mode).averages.rows.iter().for_each(|row| table.push(mode, object(row)));
    }
    table.text
}

/// `correlations.csv`: every pair in both modes.
pub fn correlations(analysis: &Analysis) -> String {
    let mut table = Export::new(CORRELATIONS);
    for mode in MODES {
        analysis.modes.of(mode).correlations.pairs.iter().for_each(|pair| table.push(mode, object(pair)));
    }
    table.text
}

/// A CSV text with fixed columns.
struct Export {
    columns: Vec<&'static str>,
    text: String,
}

impl Export {
    fn new(columns: &'static str) -> Self {
        Self { columns: columns.split(',').collect(), text: format!("{columns}\n") }
    }

    fn push(&mut self, mode: Mode, mut row: Map<String, Value>) {
        // Long format: pandas filters by mode, which two files would not let it do in one expression.
        row.insert("mode".to_owned(), Value::from(mode.name()));
        for (place, column) in self.columns.iter().enumerate() {
            if place > 0 {
                self.text.push(',');
            }
            match row.get(*column) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => push_field(&mut self.text, &guarded(text)),
                Some(value) => self.text.push_str(&value.to_string()),
            }
        }
        self.text.push('\n');
    }
}

/// A name that a spreadsheet would run as a formula, behind an apostrophe. A number written as text, such as `-inf`, stays.
fn guarded(text: &str) -> Cow<'_, str> {
    // Names come from observations of others, and a formula can send the rest of a sheet away.
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err() {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The fields of a struct; those of a struct inside it as `outer_inner`.
fn object(value: &impl Serialize) -> Map<String, Value> {
    let mut flat = Map::new();
    // The structs of an analysis hold numbers, texts and lists only, which JSON can always take.
    if let Ok(Value::Object(fields)) = serde_json::to_value(value) {
        for (name, field) in fields {
            match field {
                Value::Object(inner) if name == "welch" => {
                    flat.extend(inner.into_iter().map(|(inner, field)| (format!("{name}_{inner}"), field)));
                }
                field => drop(flat.insert(name, field)),
            }
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn names_that_a_spreadsheet_would_run_get_an_apostrophe_and_numbers_stay_numbers() {
        for (text, want) in [
            ("=1+1", "'=1+1"),
            ("+cmd", "'+cmd"),
            ("-rm", "'-rm"),
            ("@sum", "'@sum"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("-inf", "-inf"),
            ("-1.5", "-1.5"),
            ("sst2=", "sst2="),
            ("", ""),
        ] {
            assert_eq!(guarded(text), want, "{text:?}");
        }
        let names = ["none", "=a", "+b", "@c"].into_iter().zip(["0.5", "0.49", "0.48", "0.47"]);
        let rows = names.flat_map(|(name, score)| ["-t", "=u"].map(|task| format!("{name},0,{task},target,{score}")));
        let rows: Vec<String> = [String::from("intermediate,seed,task,role,score")].into_iter().chain(rows).collect();
        let text = rows.join("\n") + "\n";
        let study = crate::parse("o.csv", text.as_bytes()).expect("observations").studies.remove(0);
        let analysis = crate::analyze(&study, &Options::default());
        for (name, export) in
            [("cells", cells(&analysis)), ("averages", averages(&analysis)), ("correlations", correlations(&analysis))]
        {
            let fields = || export.lines().flat_map(|line| line.split(','));
            let formula = fields().find(|field| guarded(field) != **field);
            assert_eq!(formula, None, "{name}: {export}");
            assert!(fields().any(|field| field.starts_with('\'')), "{name} has guarded names: {export}");
        }
        assert!(cells(&analysis).contains(",-1.0,"), "a delta of one point less is a number");
    }
}
