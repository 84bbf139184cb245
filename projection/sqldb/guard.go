package sqldb

import (
	"database/sql"
	"reflect"
	"sync/atomic"
)

// guard refuses commits that are not the target's. SQLite ends a transaction at some
// errors (INSERT OR ROLLBACK, a full disk, a statement that is cut short), and commits
// each statement that follows by itself: rows without a checkpoint, once more with every
// attempt. A commit hook that says no turns them into errors.
//
// Drivers that have the hook (modernc.org/sqlite, mattn/go-sqlite3) offer it on their
// connections as RegisterCommitHook, with a function type of their own.
type guard struct {
	conn    *sql.Conn
	allowed atomic.Bool
}

// refuseCommits returns a guard that is set.
func refuseCommits(conn *sql.Conn) *guard {
	g := &guard{conn: conn}
	g.set(true)
	return g
}

// lift takes the guard away.
func (g *guard) lift() { g.set(false) }

func (g *guard) set(on bool) {
	_ = g.conn.Raw(func(conn any) error {
		register := reflect.ValueOf(conn).MethodByName("RegisterCommitHook")
		if !register.IsValid() || register.Type().NumIn() != 1 {
			return nil
		}
		hook := register.Type().In(0)
		if hook.Kind() != reflect.Func || hook.NumIn() != 0 || hook.NumOut() != 1 || !hook.Out(0).ConvertibleTo(reflect.TypeFor[int]()) {
			return nil
		}
		callback := reflect.Zero(hook)
		if on {
			callback = reflect.MakeFunc(hook, func([]reflect.Value) []reflect.Value { return []reflect.Value{g.answer(hook.Out(0))} })
		}
		register.Call([]reflect.Value{callback})
		return nil
	})
}

// answer is 0 where the commit may be made.
func (g *guard) answer(t reflect.Type) reflect.Value {
	if g.allowed.Load() {
		return reflect.Zero(t)
	}
	return reflect.ValueOf(1).Convert(t)
}
