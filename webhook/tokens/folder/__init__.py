"""A folder with a fresh token, as the kubelet keeps one, and the programs that hear of a change."""
