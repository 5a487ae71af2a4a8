//! The native provisioners: functions over a session.
