"""The scripts that let a shell complete the command. All of them run `boundtoken __complete`, whose
answer is the one that kubectl expects of its plugins (webhook/terminal/completion.py).

bash gives it the line and what it will replace of it, and gets what to insert; zsh and fish have
taken the quotes away, and get whole words. Behind the directive stands the flag in whose word files
are to be completed.
"""

BASH = r"""# bash completion for boundtoken: source <(boundtoken completion bash)
_boundtoken() {
    local -a lines=()
    mapfile -t lines < <(boundtoken __complete --line "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
    ((${#lines[@]})) || return
    local directive=${lines[${#lines[@]}-1]#:} flag=
    unset "lines[${#lines[@]}-1]"
    [[ $directive == *" "* ]] && flag=${directive#* }
    COMPREPLY=("${lines[@]}")
    case $directive in
        0) compopt -o default ;;
        16) compopt -o dirnames ;;
        6) compopt -o nospace ;;
        "0 "*)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -P "$flag" -f -- "${2#"$flag"}")
            ;;
        "16 "*)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -P "$flag" -d -- "${2#"$flag"}")
            ;;
    esac
}
complete -F _boundtoken boundtoken
"""

ZSH = r"""#compdef boundtoken
# zsh completion for boundtoken: in a folder of $fpath as _boundtoken, or source <(boundtoken completion zsh)
_boundtoken() {
    local -a lines described space
    local directive line word flag current
    # A quote that is open stands in QIPREFIX; it is closed, and then all are taken away.
    current=$QIPREFIX$PREFIX${QIPREFIX:+${compstate[quote]#\$}}
    current=${(Q)current}
    lines=("${(@f)$(boundtoken __complete --whole "${(@Q)words[2,CURRENT-1]}" "$current" 2>/dev/null)}")
    (( $#lines )) || return 1
    directive=${lines[-1]#:}
    lines[-1]=()
    [[ $directive == *' '* ]] && flag=${directive#* }
    for line in $lines; do
        word=${${${line%%$'\t'*}//\\/\\\\}//:/\\:}
        [[ $line == *$'	'* ]] && word+=:${line#*$'	'}
        described+=("$word")
    done
    [[ $directive == 6 ]] && space=(-S '')
    if (( $#described )); then
        # -U: what was typed has been compared already.
        _describe -t values value described -U "${(@)space}"
        return
    fi
    [[ -n $flag ]] && compset -P "$flag"
    case $directive in
        0|0\ *) _files ;;
        16|16\ *) _files -/ ;;
    esac
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
    set -l unquoted (string unescape -- "$current"); and set current "$unquoted"
    set -l lines (boundtoken __complete --whole $words "$current" 2>/dev/null)
    set -q lines[1]; or return
    set -l directive (string split -m 1 ' ' -- $lines[-1])
    set -e lines[-1]
    set -l flag "$directive[2]"
    set -l path (string sub -s (math (string length -- "$flag") + 1) -- "$current")
    if set -q lines[1]
        printf '%s\n' $lines
    else if test "$directive[1]" = :0
        set -l paths (__fish_complete_path "$path")
        set -q paths[1]; and printf '%s\n' $flag$paths
    else if test "$directive[1]" = :16
        set -l paths (__fish_complete_directories "$path")
        set -q paths[1]; and printf '%s\n' $flag$paths
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
