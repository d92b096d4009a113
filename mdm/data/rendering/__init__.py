"""Words and signs, drawn: fonts, glyphs, bends, grounds; prints and scenes."""
