"""Archives: sets of images in one .ivca file. The writer imports no torch."""
