"""Parts of a running Cellyard are killed, cut off and lied to; nothing may be lost, doubled or wrong."""
