# How the demo talks, waits, and ends. Sourced by demo/run.

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\033[1m' green=$'\033[32m' red=$'\033[31m' plain=$'\033[0m'
else
  bold='' green='' red='' plain=''
fi

step=0
heading() {
  step=$((step + 1))
  printf '\n%s%d. %s%s\n\n' "$bold" "$step" "$*" "$plain"
}

say() { printf '%s\n' "$*"; }

# typed prints a command as a person types it.
typed() { printf '%s$ %s%s\n' "$green" "$*" "$plain"; }

# show prints a command, then runs it; its failure is the demo's.
show() {
  typed "$*"
  "$@" || fail "that command failed"
}

# fail ends the demo, with what helps to find out why.
fail() {
  printf '\n%sThe demo stopped: %s%s\n' "$red" "$*" "$plain" >&2
  if [ -n "${run_dir:-}" ] && [ -f "$run_dir/operator.log" ]; then
    printf '\nThe end of the operator'"'"'s log:\n' >&2
    tail -n 20 "$run_dir/operator.log" >&2
  fi
  exit 1
}

# await SECONDS WHAT COMMAND... polls until the command succeeds.
await() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then fail "$what didn't come about in time"; fi
    sleep 0.1
  done
}

# reach CONDITION SECONDS shows the MigrationSet's row each time that it changes,
# until Ready or Stalled is True for what was applied last, which must be the one
# expected.
reach() {
  local other=Stalled deadline=$((SECONDS + $2)) found=''
  if [ "$1" = Stalled ]; then other=Ready; fi
  typed "kubectl get migrationsets --namespace shop --watch"
  kubectl get migrationsets --namespace shop --watch > >(tee "$work/rows") 3>&- &
  watcher=$!
  while [ -z "$found" ] && [ "$SECONDS" -lt "$deadline" ]; do
    sleep 0.2
    case " $(conditions) " in
    *" $1 "*) found=$1 ;;
    *" $other "*) found=$other ;;
    esac
  done
  if [ "$found" = "$1" ]; then await 10 "the row on the screen" last_row_is_current; fi
  end_watcher
  if [ "$found" != "$1" ]; then
    kubectl get migrationset shop --namespace shop -o yaml >&2 || true
    fail "the MigrationSet should be $1, and is ${found:-neither that nor $other after $2 s}; it stands above"
  fi
}

# conditions lists those that are True and speak of the newest generation.
conditions() {
  kubectl get migrationset shop --namespace shop -o \
    'jsonpath={.metadata.generation}{"\n"}{range .status.conditions[?(@.status=="True")]}{.type} {.observedGeneration}{"\n"}{end}' |
    awk 'NR == 1 { generation = $1 } NR > 1 && $2 == generation { printf "%s ", $1 }'
}

# last_row_is_current tells whether the watch has come as far as a fresh look. The
# last column is the age, which differs.
last_row_is_current() {
  local fresh
  fresh=$(kubectl get migrationset shop --namespace shop --no-headers | without_age)
  [ -n "$fresh" ] && [ "$(tail -n 1 "$work/rows" | without_age)" = "$fresh" ]
}
without_age() { awk '{ $NF = ""; print }'; }

end_watcher() {
  if [ -n "${watcher:-}" ]; then
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    watcher=''
  fi
}

# add_to_kustomization FILE lists a migration behind the others: kustomize takes
# no patterns.
add_to_kustomization() {
  awk -v new="migrations/$1" '
    /^[ \t]*-[ \t]*migrations\/.*\.sql/ { last = NR; match($0, /^[ \t]*-[ \t]*/); lead = substr($0, 1, RLENGTH) }
    { lines[NR] = $0 }
    END { for (i = 1; i <= NR; i++) { print lines[i]; if (i == last) print lead new } }
  ' "$shop/kustomization.yaml" >"$work/kustomization" && cat "$work/kustomization" >"$shop/kustomization.yaml"
  grep -q "migrations/$1" "$shop/kustomization.yaml" || fail "migrations-example/kustomization.yaml lists no migrations/*.sql"
}

# next_version prints the number behind that of the last migration, as wide.
next_version() {
  local last
  last=$(cd "$shop/migrations" && printf '%s\n' [0-9]*_*.sql | sed 's/_.*//' | sort -n | tail -n 1)
  printf '%0*d\n' "${#last}" "$((10#$last + 1))"
}

# has_psql runs it to find out: Debian installs a wrapper that may wrap nothing.
has_psql() { psql --version >/dev/null 2>&1; }

# history shows what the database says was done.
history() {
  local query="SELECT version, name, state, transactional, duration_ms FROM dunlin.migration ORDER BY applied_at, version"
  # As the superuser, who needs no grant; the URL and its password are in the environment.
  if has_psql; then
    typed "psql --dbname shop --command '$query'"
    PGDATABASE=shop psql --pset pager=off --no-psqlrc --command "$query" || fail "the history can't be read"
  else
    typed "cluster sql '$query'"
    PGDATABASE=shop "$cluster" sql "$query" || fail "the history can't be read"
  fi
}
