"""What a final number was made of, signed, so that somebody else can make it again from the lake alone."""
