"""What does each vendor speak? One file or folder per language; the codecs are pure, one transport does the I/O."""
