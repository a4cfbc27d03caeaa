"""Is it true what we say of ourselves? What anybody can run to find out: `./run bench`."""
