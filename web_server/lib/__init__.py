"""Small framework parts that several apps share, each under the noun it is about."""
