//! Values that JSON lacks: infinite degrees of freedom are the text "inf", ordered pairs an object.

pub(crate) mod df;
pub(crate) mod map;
