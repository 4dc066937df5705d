"""Container 2: decodes and counts what the wire hands over, and shows the counts. Its death costs nobody anything."""
