//! Text read from a screen: from text mode's memory, or from pixels by exact matching with console fonts.
