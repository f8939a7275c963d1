"""What is inside: measures, maps, neighbours and pictures. Arrays in, arrays out."""
