package conformance

import (
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func filterChecks() []Check {
	filter := func(name, sentence string, run func(context.Context, *Env) error) Check {
		return Check{Name: "filter/" + name, Promise: 15, Requires: globalOrder, Sentence: sentence, Run: run}
	}
	return []Check{
		filter("category", "A category selects the streams with exactly this text before the first '-', and streams without a '-' by their whole ID.",
			filtersEqual(categoryFilters)),
		filter("stream-prefix", "A stream prefix selects the streams that begin with its bytes: wildcards, quotes, case, normal forms, combining marks and soft hyphens are data, also where the prefix ends.",
			filtersEqual(prefixFilters)),
		filter("types", "Types select events of exactly these types, and several types any of them.",
			filtersEqual(typeFilters)),
		filter("combined", "The fields of a filter that are set must all agree.",
			filtersEqual(combinedFilters)),
		filter("with-bounds", "Bounds and direction apply to a filtered read as to any other, and its limit counts the events that match.", filterWithBounds),
		filter("rare-match", "A filter finds a match far behind many events that do not match, with any page size.", rareMatch),
		filter("in-subscriptions", "A filtered subscription delivers what filtering on the caller's side would leave, from what is stored and from what comes.", filterSubscriptions),
	}
}

func categoryFilters(*Env) []eventstore.Filter {
	var filters []eventstore.Filter
	for _, category := range append(categories(), "Absent", "order", "Orde", "Ord%", "%", "_", "O____", "*", "Order'") {
		filters = append(filters, eventstore.Filter{Categories: []string{category}})
	}
	return filters
}

// categories are those of the hostile streams that a filter can name.
func categories() []string {
	var all []string
	for _, stream := range hostileStreams() {
		if category := eventstore.Category(stream); category != "" {
			all = append(all, category)
		}
	}
	return all
}

func prefixFilters(*Env) []eventstore.Filter {
	tried := []string{"%", "_", "%1", "Ord%", "O%", "*", "O*", "^O", "ORDER", "Order-1%", "order_1", "\U0010ffff"}
	for _, stream := range hostileStreams() {
		tried = append(tried, prefixes(stream)...)
	}
	var filters []eventstore.Filter
	for _, prefix := range distinct(tried) {
		filters = append(filters, ofPrefix(prefix))
	}
	return filters
}

func typeFilters(env *Env) []eventstore.Filter {
	types := env.oddTypes(hostileTypes()...)
	var filters []eventstore.Filter
	for i, eventType := range types {
		filters = append(filters,
			eventstore.Filter{Types: []string{eventType}},
			eventstore.Filter{Types: []string{eventType, types[(i+3)%len(types)]}},
			eventstore.Filter{Types: []string{eventType, "Absent", eventType}})
	}
	return append(filters,
		eventstore.Filter{Types: types},
		eventstore.Filter{Types: []string{"Absent"}},
		eventstore.Filter{Types: []string{"Pl%"}},
		eventstore.Filter{Types: []string{"PLACED"}},
		eventstore.Filter{Types: []string{"Pla"}})
}

func combinedFilters(*Env) []eventstore.Filter {
	var filters []eventstore.Filter
	for _, categories := range [][]string{nil, {"Order"}, {"Ord%r"}, {"Café", "Order"}, {"Absent", "Cart"}} {
		for _, prefixes := range [][]string{nil, {"Order-1"}, {"Cart", "Ord"}, {"Order-1 "}, {"Ord%"}, {"Cafe", "Order-1", "Order"}} {
			for _, types := range [][]string{nil, {"Placed"}, {"Pla_ed", "%"}, {"Absent"}} {
				filters = append(filters, eventstore.Filter{Categories: categories, StreamPrefixes: prefixes, Types: types})
			}
		}
	}
	return filters
}

// filtersEqual makes a check that each filter selects what [eventstore.Filter]'s
// Match selects from an unfiltered read: forward, backward, in small and in
// large pages.
func filtersEqual(filters func(*Env) []eventstore.Filter) func(context.Context, *Env) error {
	return func(ctx context.Context, env *Env) error {
		all, err := writeHostile(ctx, env)
		if err != nil {
			return err
		}
		small, err := pagedStore(env, 3)
		if err != nil {
			return err
		}
		for i, filter := range filters(env) {
			store := []*eventstore.Store{env.Store, small}[i%2]
			for _, backward := range []bool{false, true} {
				if err := expectFiltered(ctx, store, all, eventstore.ReadAllOptions{Filter: filter, Backward: backward}); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// expectFiltered compares a read with the same choice made here from all.
func expectFiltered(ctx context.Context, store *eventstore.Store, all []eventstore.RecordedEvent, opts eventstore.ReadAllOptions) error {
	got, err := collectAtMost(len(all)+1, store.ReadAll(ctx, opts))
	what := fmt.Sprintf("ReadAll with the filter %q, after %s before %s, limit %d, backward %t", fmt.Sprintf("%+v", opts.Filter), opts.After, opts.Before, opts.Limit, opts.Backward)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	want := choice(all, func(e eventstore.RecordedEvent) bool {
		return opts.After.Before(e.Position) && (opts.Before.IsZero() || e.Position.Before(opts.Before)) && opts.Filter.Match(e.Stream, e.Type)
	}, opts.Backward, opts.Limit)
	return expectSame(what, want, got)
}

func filterWithBounds(ctx context.Context, env *Env) error {
	all, err := writeLog(ctx, env, 16, env.Store)
	if err != nil {
		return err
	}
	small, err := pagedStore(env, 2)
	if err != nil {
		return err
	}
	for _, filter := range []eventstore.Filter{{Categories: []string{"Order"}}, {StreamPrefixes: []string{"Order-3"}, Types: []string{"Placed", "Shipped"}}, {Types: []string{"Cancelled"}}} {
		for i := range all {
			for _, limit := range []int{0, 1, 3} {
				for _, backward := range []bool{false, true} {
					opts := eventstore.ReadAllOptions{Filter: filter, Limit: limit, Backward: backward, After: all[i/2].Position}
					if i%3 > 0 && all[i].Position != opts.After {
						opts.Before = all[i].Position
					}
					store := []*eventstore.Store{env.Store, small}[i%2]
					if err := expectFiltered(ctx, store, all, opts); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func rareMatch(ctx context.Context, env *Env) error {
	for i := range 4 {
		if _, err := env.Store.Append(ctx, env.StreamID("Rare", 1), eventstore.Any(), env.Event("Happened")); err != nil {
			return err
		}
		if _, err := env.Fill(ctx, env.StreamID("Common", 1), 60*i, 60); err != nil {
			return err
		}
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	if len(all) != 364 {
		return unexpected("ReadAll", "364 events", len(all))
	}
	for _, size := range []int{1, 2, 100} {
		store, err := pagedStore(env, size)
		if err != nil {
			return err
		}
		for _, backward := range []bool{false, true} {
			for _, limit := range []int{0, 1, 3} {
				opts := eventstore.ReadAllOptions{Filter: ofCategory(eventstore.Category(env.StreamID("Rare", 1))), Backward: backward, Limit: limit}
				if err := expectFiltered(ctx, store, all, opts); err != nil {
					return fmt.Errorf("in pages of %d: %w", size, err)
				}
			}
		}
	}
	return nil
}

func filterSubscriptions(ctx context.Context, env *Env) error {
	stored, err := writeHostile(ctx, env)
	if err != nil {
		return err
	}
	filters := []eventstore.Filter{
		{Categories: []string{"Order"}},
		{Categories: []string{"Ord_r"}},
		{StreamPrefixes: []string{"Order-1"}},
		{StreamPrefixes: []string{"Ord%"}},
		{StreamPrefixes: []string{"Z\U0010ffff"}},
		{StreamPrefixes: []string{"Cafe"}},
		{Types: []string{"Pla_ed", "Placed"}},
		{Categories: []string{"Café"}, Types: []string{"Placed"}},
		{StreamPrefixes: []string{"Absent"}},
	}
	listeners := make([]*listener, len(filters))
	for i, filter := range filters {
		listeners[i] = listen(ctx, env, env.Store, eventstore.SubscribeOptions{Filter: filter})
		if err := listeners[i].waitCaughtUp(ctx); err != nil {
			return err
		}
	}
	for i, stream := range env.odd(hostileStreams()...) {
		if _, err := env.Store.Append(ctx, stream, eventstore.Any(), env.Event(env.oddTypes(hostileTypes()...)[i%len(hostileTypes())])); err != nil {
			return err
		}
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	if len(all) != len(stored)+len(hostileStreams()) {
		return unexpected("ReadAll", len(stored)+len(hostileStreams()), len(all))
	}
	head := all[len(all)-1].Position
	for i, filter := range filters {
		want := choice(all, func(e eventstore.RecordedEvent) bool { return filter.Match(e.Stream, e.Type) }, false, 0)
		if err := listeners[i].waitPast(ctx, head); err != nil {
			return fmt.Errorf("subscription with the filter %+v: %w", filter, err)
		}
		if err := expectSame(fmt.Sprintf("subscription with the filter %+v", filter), want, listeners[i].events()); err != nil {
			return err
		}
	}
	return nil
}
