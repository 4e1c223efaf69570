"""What each venue's market messages mean: pure decoders and sequence rules, one module a venue, behind one Protocol."""
