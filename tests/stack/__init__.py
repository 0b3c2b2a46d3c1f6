"""Real parts that the tests start themselves, on free ports and in folders of their own."""
