//! Post-processing: functions from an artifact to a new artifact.
