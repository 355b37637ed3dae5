"""The scripts that let a shell complete the command. All of them run `boundtoken __complete`, whose
answer is the one that kubectl expects of its plugins (webhook/terminal/completion.py).
"""

BASH = r"""# bash completion for boundtoken: source <(boundtoken completion bash)
_boundtoken() {
    local line=${COMP_LINE:0:COMP_POINT} rest word blanks i
    local -a words=() lines=()
    # A word that bash has split at ":", "=" or "@" is put together again.
    rest=$line
    for ((i = 0; i <= COMP_CWORD; i++)); do
        blanks=${rest%%[![:space:]]*}
        rest=${rest#"$blanks"}
        word=${COMP_WORDS[i]}
        ((i < COMP_CWORD)) || word=$rest
        if ((i)) && [[ -z $blanks ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        rest=${rest#"$word"}
    done
    local current=${words[${#words[@]}-1]}
    mapfile -t lines < <(boundtoken __complete "${words[@]:1}" 2>/dev/null)
    ((${#lines[@]})) || return
    local directive=${lines[${#lines[@]}-1]#:}
    unset "lines[${#lines[@]}-1]"
    [[ $current == -*=* ]] && current=${current#*=}
    # bash replaces only what follows the last character that splits words.
    local breaks=${COMP_WORDBREAKS//[!:=@]/} kept=
    [[ -n $breaks && $current == *[$breaks]* ]] && kept=${current%"${current##*[$breaks]}"}
    COMPREPLY=()
    for word in "${lines[@]}"; do
        word=${word%%$'\t'*}
        printf -v word %q "${word#"$kept"}"
        COMPREPLY+=("$word")
    done
    case $directive in
        0) compopt -o default ;;
        16) compopt -o dirnames ;;
        6) compopt -o nospace ;;
    esac
}
complete -F _boundtoken boundtoken
"""

ZSH = r"""#compdef boundtoken
# zsh completion for boundtoken: in a folder of $fpath as _boundtoken, or source <(boundtoken completion zsh)
_boundtoken() {
    local -a lines described space
    local directive line word
    lines=("${(@f)$(boundtoken __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    (( $#lines )) || return 1
    directive=${lines[-1]#:}
    lines[-1]=()
    for line in $lines; do
        word=${line%%$'\t'*}
        described+=("${word//:/\\:}${${line#$word}/$'\t'/:}")
    done
    [[ $PREFIX == -*=* ]] && compset -P '*='
    (( directive == 6 )) && space=(-S '')
    if (( $#described )); then
        _describe -t values value described "${(@)space}"
    elif (( directive == 0 )); then
        _files
    elif (( directive == 16 )); then
        _files -/
    fi
}
if [[ $funcstack[1] == _boundtoken ]]; then
    _boundtoken "$@"
else
    compdef _boundtoken boundtoken
fi
"""

FISH = r"""# fish completion for boundtoken: boundtoken completion fish > ~/.config/fish/completions/boundtoken.fish
function __boundtoken_complete
    set -l words (commandline -opc)
    set -e words[1]
    set -l current (commandline -ct)
    set -l flag (string match -r -- '^--?[^=]+=' "$current")
    set -l lines (boundtoken __complete $words "$current" 2>/dev/null)
    set -q lines[1]; or return
    set -l directive $lines[-1]
    set -e lines[-1]
    if set -q lines[1]
        printf "$flag%s\n" $lines
    else if test "$directive" = :0
        set -l paths (__fish_complete_path (string replace -r -- '^--?[^=]+=' '' "$current"))
        set -q paths[1]; and printf "$flag%s\n" $paths
    else if test "$directive" = :16
        set -l paths (__fish_complete_directories (string replace -r -- '^--?[^=]+=' '' "$current"))
        set -q paths[1]; and printf "$flag%s\n" $paths
    end
end
complete -c boundtoken -f -a '(__boundtoken_complete)'
"""

KUBECTL = """#!/bin/sh
# What kubectl 1.26 and newer runs to complete `kubectl boundtoken`: in a folder of PATH, executable, as
# kubectl_complete-boundtoken. An install with pip has this program already.
exec kubectl boundtoken __complete "$@" 2>/dev/null
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH, "kubectl": KUBECTL}
