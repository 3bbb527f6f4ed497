#!/usr/bin/env bash
# Fetch the jars of the servers that tests run (Neo4j, Kafka): once, into a folder outside the repository.
# Usage: tests/jars/fetch.sh [neo4j] [kafka]; both when none is named.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
cache="${HARK_TEST_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/hark-test-jars}"

fetch() {
    local pom="$here/$1.xml" lib="$cache/$1" new
    # The pom is copied last: its being there, and the same, says that the folder is whole.
    cmp -s "$pom" "$lib/pom.xml" && return
    mkdir -p "$cache"
    new="$(mktemp -d "$cache/$1.XXXXXX")"
    mvn -q -B -ntp -Dstyle.color=never -f "$pom" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new"
    cp "$pom" "$new/pom.xml"
    rm -rf "$lib"
    mv -T "$new" "$lib"
    echo "$1: $(find "$lib" -name '*.jar' | wc -l) jars in $lib"
}

[ $# -gt 0 ] || set -- neo4j kafka
for server in "$@"; do fetch "$server"; done
