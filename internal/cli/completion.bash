# The words of the command line, with those joined that bash splits at = and :, as the function of
# this name in the package bash-completion gives them.
__taskiso_words() {
    local i word
    words=() cword=0
    for i in "${!COMP_WORDS[@]}"; do
        word=${COMP_WORDS[i]}
        if [[ $i -gt 0 && ( $word == [=:]* || ${COMP_WORDS[i-1]} == [=:] ) ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        [[ $i -eq $COMP_CWORD ]] && cword=$((${#words[@]} - 1))
    done
    cur=${words[cword]} prev=
    [[ $cword -gt 0 ]] && prev=${words[cword-1]}
    return 0
}
if ! declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
    _get_comp_words_by_ref() { __taskiso_words; }
fi

