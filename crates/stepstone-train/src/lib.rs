//! One run: start point, task, recipe and seed to scores.
