package telemetry

import (
	"context"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Users are some users, of whom only is kept whether they are more than one: the least and the
// greatest hash of their names, which are the same for one user. Unlike counts of distinct users
// those of several buckets can be added.
type Users struct{ Least, Greatest uint64 }

// Add makes u those of either.
func (u *Users) Add(more Users) {
	u.Least, u.Greatest = min(u.Least, more.Least), max(u.Greatest, more.Greatest)
}

// Several says that they are more than one.
func (u Users) Several() bool { return u.Least != u.Greatest }

// ErrorUsersAsk says whose users to read; see ErrorUsers.
type ErrorUsersAsk struct {
	Step        time.Duration // whole seconds
	Environment string        // "" is all
	// Service leaves out the events whose tags name another service. Most name none.
	Service string
}

// ErrorUsers reads the users that error events of a scope happened to, by bucket: it calls each for
// every bucket that has some, in order. An error of each ends the read and is returned as it is.
func (s *Store) ErrorUsers(ctx context.Context, sc Scope, ask ErrorUsersAsk, each func(bucket int, u Users) error) error {
	p := sc.scoped()
	where := ""
	if ask.Environment != "" {
		where += " AND environment = {" + p.add("environment", ask.Environment) + ":String}"
	}
	if ask.Service != "" {
		where += " AND if(tags['service'] != '', tags['service'], tags['service.name']) IN ('', {" + p.add("service", ask.Service) + ":String})"
	}
	return s.users(ctx, sc, usersRead{"error_events", "user_id", "''", where, ask.Step}, p, func(bucket int, _ string, u Users) error { return each(bucket, u) })
}

// LogUsersAsk says whose users to read; see LogUsers.
type LogUsersAsk struct {
	Step   time.Duration // whole seconds
	Filter LogFilter
	By     string // as in LogCountsAsk
}

// LogUsers reads the users that the records of a scope which match a filter are about, as far as they
// name one in an attribute user.id, enduser.id or user_id, by bucket: it calls each for every bucket
// and group that has some, in their order. An error of each ends the read and is returned as it is.
func (s *Store) LogUsers(ctx context.Context, sc Scope, ask LogUsersAsk, each func(bucket int, group string, u Users) error) error {
	p := sc.scoped()
	where, err := ask.Filter.where(p)
	if err != nil {
		return err
	}
	const user = "coalesce(nullIf(attributes['user.id'], ''), nullIf(attributes['enduser.id'], ''), attributes['user_id'])"
	return s.users(ctx, sc, usersRead{"logs", user, groupColumn(ask.By, p), where, ask.Step}, p, each)
}

// usersRead is a read of users: the expressions of a user and of a group, and a condition that begins
// with AND or is empty.
type usersRead struct {
	table, user, group, where string
	step                      time.Duration
}

func (s *Store) users(ctx context.Context, sc Scope, r usersRead, p params, each func(bucket int, group string, u Users) error) error {
	steps, err := alertBuckets(sc, r.step)
	if err != nil {
		return err
	}
	sql := `SELECT ` + steps.column(p) + ` AS bucket, ` + r.group + ` AS name, min(cityHash64(` + r.user + `)), max(cityHash64(` + r.user + `))
FROM ` + r.table + ` WHERE ` + inScope + r.where + ` AND ` + r.user + ` != '' GROUP BY bucket, name ORDER BY bucket, name`
	var stop error // of each, which is no error of the read
	err = s.query(ctx, sc, "read users", sql, p, func(rows driver.Rows) error {
		var (
			bucket uint64
			group  string
			u      Users
		)
		if err := rows.Scan(&bucket, &group, &u.Least, &u.Greatest); err != nil {
			return err
		}
		if stop = each(int(bucket), group, u); stop != nil {
			return errEnough
		}
		return nil
	})
	if err == nil {
		err = stop
	}
	return err
}
