"""What commands read of a cluster, each part of which may be forbidden to the user."""
