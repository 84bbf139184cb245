package dynamodbtest

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExpressionsAreSplitIntoTokens(t *testing.T) {
	var got []string
	for _, token := range tokens("#a.b[12]<=:c AND\tbegins_with(d,:e)<>x\xff") {
		got = append(got, token.text)
	}
	require.Equal(t, []string{"#a", ".", "b", "[", "12", "]", "<=", ":c", "AND", "begins_with", "(", "d", ",", ":e", ")", "<>", "x", "\xff"}, got)
}

func TestPathsLeadIntoDocuments(t *testing.T) {
	p, err := newParams(map[string]string{"#r": "size"}, nil)
	require.Nil(t, err)
	ps := newParser("ProjectionExpression", "a.#r[3][0].c", p)
	got := ps.path()
	require.Nil(t, ps.end())
	require.Equal(t, path{{name: "a"}, {name: "size"}, {index: 3}, {index: 0}, {name: "c"}}, got)
	require.Equal(t, "[a, size, [3], [0], c]", got.String())
}

func TestANameIsReservedInAnyCase(t *testing.T) {
	for _, name := range []string{"status", "Status", "STATUS", "abort", "zone", "at", "until"} {
		require.True(t, isReserved(name), name)
	}
	for _, name := range []string{"stat", "pk", "sk", "q", "n", "x", "hi", "lo", "own", "ep"} {
		require.False(t, isReserved(name), name)
	}
}

// fuzzItem has every kind of value that an expression can meet.
func fuzzItem() item {
	return item{
		"s": stringValue("hello"), "n": intValue(5), "b": {kind: kindB, bytes: "x"}, "t": {kind: kindBool, yes: true}, "z": {kind: kindNull},
		"ss": {kind: kindSS, list: []value{stringValue("a"), stringValue("b")}},
		"l":  {kind: kindL, list: []value{intValue(1), stringValue("x"), {kind: kindM, attrs: item{"k": intValue(2)}}}},
		"m":  {kind: kindM, attrs: item{"k": intValue(7), "l": {kind: kindL, list: []value{intValue(1)}}}},
	}
}

func fuzzParams(t *testing.T) *params {
	t.Helper()
	values := item{}
	for name, v := range fuzzItem() {
		values[":"+name] = v
	}
	p, err := newParams(map[string]string{"#s": "s", "#m": "m"}, values)
	require.Nil(t, err)
	return p
}

// What comes over the wire must not end the server, nor change what is stored.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		"", "n = :n", "NOT (s = :s OR n IN (:n, :s)) AND size(l) > :n", "begins_with(s, :s)", "contains(ss, :s)", "attribute_type(#m.k, :s)",
		"n BETWEEN :n AND :n", "SET n = n + :n, l[1] = :s REMOVE m.k ADD ss :ss", "SET l = list_append(l, :l)", "SET m.l[0] = if_not_exists(z, (n - :n))",
		"DELETE ss :ss REMOVE l[0], l[2]", "pk = :s AND sk BETWEEN :n AND :n", "pk = :s AND begins_with(sk, :s)", "m.l[0], l[2].k", "((((", "l[99999999999999999999]",
	} {
		f.Add(seed)
	}
	key := schema{keyAttribute{"pk", kindS}, keyAttribute{"sk", kindN}}
	f.Fuzz(func(t *testing.T, src string) {
		it := fuzzItem()
		if c, err := parseCondition("ConditionExpression", src, fuzzParams(t)); err == nil {
			c(it)
			c(nil)
		}
		if pr, err := parseProjection(src, fuzzParams(t)); err == nil {
			part := pr.of(it)
			for name := range part {
				require.Contains(t, it, name)
			}
		}
		if c, err := parseKeyCondition(src, key, fuzzParams(t)); err == nil {
			// A range has no holes: before, inside and after follow each other.
			last := -1
			for _, n := range []int{-6, -5, 0, 4, 5, 6, 100} {
				at := c.sort(intValue(n))
				require.GreaterOrEqual(t, sign(at), last)
				last = sign(at)
			}
		}
		if u, err := parseUpdate(src, key, fuzzParams(t)); err == nil {
			after, err := u.apply(it)
			if err == nil {
				require.LessOrEqual(t, len(after), len(it)+len(u.actions))
			}
			_, _ = u.apply(nil)
		}
		require.True(t, it.equal(fuzzItem()), "the item is left alone")
	})
}

func TestAnUpdateLeavesTheOldVersionAlone(t *testing.T) {
	before := fuzzItem()
	u, err := parseUpdate("SET m.l[0] = :s, l[2].k = :s, n = n + :n REMOVE l[0] ADD ss :ss", schema{}, fuzzParams(t))
	require.Nil(t, err)
	after, err := u.apply(before)
	require.Nil(t, err)
	require.True(t, before.equal(fuzzItem()))
	require.Equal(t, stringValue("hello"), after["l"].list[1].attrs["k"])
	require.Equal(t, slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
}
