package supervisor

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	_ "github.com/lib/pq" // the driver "postgres"
)

const queryDeadline = 30 * time.Second

// query is the command sql: a PostgreSQL that was fetched comes without
// psql, and a demo must be able to show what is in the database. The URL comes
// by the environment, which other users of the machine can't read.
func query(arguments []string) error {
	flags := flag.NewFlagSet("cluster sql", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	variable := flags.String("url-env", "", "the environment variable `NAME` that holds the URL (default: PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE)")
	if err := parseFlags(flags, arguments); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return misuse{errors.New("want cluster sql [--url-env NAME] QUERY, or - to read it from standard input")}
	}
	source := "sslmode=disable"
	if *variable != "" {
		source = os.Getenv(*variable)
		if !strings.Contains(source, "sslmode=") {
			separator := "?"
			if strings.Contains(source, "?") {
				separator = "&"
			}
			source += separator + "sslmode=disable"
		}
	}
	database, err := sql.Open("postgres", source)
	if err != nil {
		return err
	}
	defer database.Close()
	ctx, cancel := context.WithTimeout(context.Background(), queryDeadline)
	defer cancel()
	text := flags.Arg(0)
	if text == "-" {
		content, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		text = string(content)
	}
	rows, err := database.QueryContext(ctx, text)
	if err != nil {
		return err
	}
	defer rows.Close()
	return print(rows)
}

// print writes rows as aligned columns; NULL is empty, as in psql.
func print(rows *sql.Rows) error {
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return rows.Err()
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(names, "\t"))
	for rows.Next() {
		cells := make([]sql.NullString, len(names))
		targets := make([]any, len(names))
		for i := range cells {
			targets[i] = &cells[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		texts := make([]string, len(names))
		for i, cell := range cells {
			texts[i] = cell.String
		}
		fmt.Fprintln(table, strings.Join(texts, "\t"))
	}
	return errors.Join(rows.Err(), table.Flush())
}
