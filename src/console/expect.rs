//! Waiting for text on the serial console or the screen.
