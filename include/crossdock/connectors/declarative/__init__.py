"""Systems that are read by a declaration, over REST or GraphQL, without code of their own."""
