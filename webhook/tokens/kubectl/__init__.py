"""What kubectl and people use: a token of `kubectl create token`, exec credentials, kubeconfigs."""
