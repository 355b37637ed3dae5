"""What the commands that change manifests share: files, the policies of namespaces, changes, the
report. A command is a module beside this folder.
"""
