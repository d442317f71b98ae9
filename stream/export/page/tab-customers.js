// The tab Customers: where people stop in onboarding, who subscribes and who leaves, what is paid in each currency, and
// what lifetime values are made of.

import { chart } from "./chart.js";
import { Unanswered, closedDays } from "./closed.js";
import { dayChart } from "./day-chart.js";
import { terms } from "./definitions.js";
import { forest } from "./forest.js";
import { isWhole, labelText, valuesOf } from "./metrics.js";
import { dayMs } from "./numbers.js";
import { bar, scale } from "./pictures.js";
import { placed } from "./place.js";
import { NONE, counted, day as dayText, interval, moneyIn, shown, windowName } from "./text.js";
import { html } from "./vendor/lit-html.js";
import { choice, chosen, nothingOf, range, rangeControls, view } from "./view.js";

const SUBSCRIBERS = "engagement_subscribers_closed";
const CHURN = "engagement_customer_churn_closed_ratio";
const STEPS = "engagement_onboarding_step_users_closed";
const ONBOARDED = "engagement_first_week_onboarded_closed_ratio";
const REVENUE = "engagement_revenue_closed";
const ARPA = "engagement_revenue_per_customer_closed";
const ORDER_VALUE = "engagement_average_order_value_closed";
const REPEAT = "engagement_repeat_purchase_closed_ratio";
const SIMPLE_LTV = "engagement_ltv_simple_closed";
const HISTORIC_LTV = "engagement_ltv_historic_closed";
const OF_DAYS = { accounts: [SUBSCRIBERS, CHURN], orders: [REVENUE, ARPA, REPEAT] };
const OF_LAST_DAY = { accounts: [STEPS, ONBOARDED], orders: [ORDER_VALUE, SIMPLE_LTV, HISTORIC_LTV] };
// From the axis upwards. Who has cancelled is no subscriber any more: they are told beside the chart.
const STATUSES = { active: "--new", paused: "--returning", trialing: "--resurrected" };
const LTV_WINDOW = "30d";

const term = terms();

/** Returns what loads and draws the tab. */
export function customers(root) {
  const subscribersOf = chosen(() => chart({
    title: "Subscribers by status",
    kind: "count",
    x: "day",
    isStack: true,
    series: Object.entries(STATUSES).map(([status, colour]) => ({ label: status, metric: SUBSCRIBERS, colour })).reverse(),
    note: "No subscriber on two of these days.",
  }));
  const churnOf = chosen(() => dayChart({
    title: "Customer churn",
    lines: [{ label: "lost", metric: CHURN }],
    note: "No churn yet: customers must be known for a whole window.",
  }));
  const repeatOf = chosen(() => dayChart({
    title: "Repeat purchases",
    lines: [{ label: "bought again", metric: REPEAT }],
    note: "No purchase on two of these days.",
  }));
  const revenueOf = chosen((currency) => chart({
    title: `Revenue in ${currency}`,
    kind: moneyIn(currency),
    x: "day",
    series: [{ label: "paid minus refunded", metric: REVENUE, colour: "--line-1", width: 2.5 }],
    note: "No revenue on two of these days.",
  }));
  const churnTable = forest({ title: "Churn by window", metric: CHURN, short: "n: customers at its start", kind: "share" });

  async function load(numbers) {
    const kinds = Object.keys(OF_DAYS).filter((kind) => numbers.about.kinds.includes(kind));
    if (kinds.length === 0) {
      throw new Unanswered("this deployment reads neither accounts nor orders; the settings topics.accounts and topics.orders name their topics");
    }
    const days = range(numbers);
    const lastDay = { from: days.to, to: days.to };
    const asked = kinds.flatMap((kind) => [
      ...OF_DAYS[kind].map((metric) => [metric, days]),
      ...OF_LAST_DAY[kind].map((metric) => [metric, lastDay]),
    ]);
    const found = await Promise.all(asked.map(async ([metric, span]) => [metric, await closedDays(metric, span)]));
    return { ...Object.fromEntries([...Object.values(OF_DAYS), ...Object.values(OF_LAST_DAY)].flat().map((metric) => [metric, []])), ...Object.fromEntries(found) };
  }

  return view(root, load, (numbers, found) => {
    const window = chosenWindow(found);
    const currencies = valuesOf(found[REVENUE], "currency").sort();
    const currency = currencies.includes(placed("currency")) ? placed("currency") : (usualCurrency(found[ORDER_VALUE]) ?? currencies[0]);
    const whole = (metric) => found[metric].filter(({ day }) => isWhole(numbers.about, day, window));
    const last = (metric) => found[metric].at(-1)?.samples;
    const windows = valuesOf(found[found[CHURN].length ? CHURN : REVENUE], "window");
    const isTold = (metric) => found[metric].some(({ samples }) => samples.all().length);
    return html`
      <div class="controls">
        ${choice("Window", "window", window, windows.map((value) => [value, labelText("window", value)]))}
        ${currencies.length ? choice("Currency", "currency", currency, currencies.map((code) => [code, code])) : ""}
        ${rangeControls(numbers)}
      </div>
      ${isTold(SUBSCRIBERS) ? accountsShown() : nothingOf(numbers, "accounts")}
      ${isTold(REVENUE) ? ordersShown() : nothingOf(numbers, "orders")}`;

    function accountsShown() {
      const subscribers = subscribersOf();
      const subscribersOn = (status) => found[SUBSCRIBERS].map(({ samples }) => samples.find(SUBSCRIBERS, { status }).value ?? null);
      subscribers.draw(found[SUBSCRIBERS].map(({ day }) => dayMs(day)), Object.keys(STATUSES).map(subscribersOn).reverse());
      const churn = churnOf();
      churn.draw(numbers, found[CHURN], { window });
      churnTable.render(windows.map((one) => ({ label: one, ...last(CHURN)?.find(CHURN, { window: one }) })), { reference: null });
      return html`
        <div class="pair">
          ${funnel(last(STEPS), last(ONBOARDED))}
          <div>${subscribers.element} ${cancelledTold(last(SUBSCRIBERS))}</div>
        </div>
        <div class="pair">
          ${churn.element}
          ${churnTable.element}
        </div>
        <p class="about">
          ${`Churn over ${windowName(window)}: of the customers at the start of the window, active or paused, the share of those who are none at the end of a day. Shaded is its 95% interval.`}
          A trial is no customer; who left and came back is kept; who came and left within the window is in neither part.
        </p>`;
    }

    function ordersShown() {
      const revenue = revenueOf(currency);
      revenue.draw(
        whole(REVENUE).map(({ day }) => dayMs(day)),
        [whole(REVENUE).map(({ samples }) => samples.find(REVENUE, { window, currency }).value ?? null)],
      );
      const repeat = repeatOf();
      repeat.draw(numbers, found[REPEAT], { window });
      return html`
        <div class="pair">${revenue.element} ${repeat.element}</div>
        <p class="about">
          ${`Each point is of the ${windowName(window)} that end with a day.`} Repeat purchases: of the buyers of the window,
          those with two or more paid orders in it. Currencies are never converted or added.
        </p>
        <div class="pair">
          ${moneyTable(currencies, window, last(REVENUE), last(ARPA), last(ORDER_VALUE))}
          ${lifetimeValues(currency, last, found[REVENUE].at(-1).day)}
        </div>`;
    }
  });
}

/** The window that the address asks for, or else 30 days, by which lifetime values go too. */
function chosenWindow(found) {
  const windows = valuesOf([...found[CHURN], ...found[REVENUE]], "window");
  const asked = placed("window", LTV_WINDOW);
  return windows.includes(asked) ? asked : (windows.at(-1) ?? LTV_WINDOW);
}

/** The currency with the most paid orders. Amounts of two currencies can't be compared. */
function usualCurrency(days) {
  const orders = days.at(-1)?.samples.named(ORDER_VALUE).filter(({ labels }) => labels.window === LTV_WINDOW) ?? [];
  const most = orders.sort((one, other) => other.sample_size - one.sample_size)[0];
  return most?.labels.currency;
}

/** How many of the new users reach each step of onboarding within their first week, and where most of them stop. */
function funnel(steps, onboarded) {
  const { value: share, n: signups, lower, upper } = onboarded?.find(ONBOARDED) ?? {};
  if (!signups) return html`<div class="block"><h3>${term("Onboarding in the first week", STEPS)}</h3><p class="empty">No complete cohort yet: it takes a week from the first whole day on.</p></div>`;
  const done = steps.named(STEPS).filter(({ labels, value }) => labels.step !== "other" || value > 0);
  const rows = [
    { name: "signed up", users: signups },
    ...done.map(({ labels, value }) => ({ name: labels.step.replaceAll("_", " "), users: value, isOther: labels.step === "other" })),
    { name: "onboarded", users: Math.round(share * signups) },
  ];
  // Steps that the settings don't name have no place in the order.
  const inOrder = rows.filter(({ isOther }) => !isOther);
  const lost = new Map(inOrder.slice(1).map((row, place) => [row, inOrder[place].users - row.users]));
  const most = Math.max(...lost.values());
  const at = scale(0, signups);
  const rowOf = (row) => html`
    <tr>
      <th scope="row">${row.name}</th>
      <td class="drawn">${bar(at, Math.min(row.users, signups))}</td>
      <td class="number"><b>${shown("share", row.users / signups)}</b></td>
      <td class="number soft wide">${shown("count", row.users)}</td>
      <td class="number">${stopped(lost.get(row), most)}</td>
    </tr>`;
  return html`
    <div class="block">
      <h3>${term("Onboarding in the first week", STEPS)}<span class="short">${`of ${counted(signups, "sign-up")}`}</span></h3>
      <table class="values funnel" aria-label="Onboarding in the first week">
        <thead>
          <tr>
            <th scope="col"><span class="unseen">step</span></th><td class="drawn"></td>
            <th scope="col">reached</th><th scope="col" class="wide">users</th><th scope="col">stopped before</th>
          </tr>
        </thead>
        <tbody>${rows.map(rowOf)}</tbody>
      </table>
      <p class="about">
        ${`Onboarded: ${shown("share", share)}, 95% interval ${interval("share", lower, upper)}.`} Of the users who signed up on
        the 28 newest days that are a week old.
      </p>
    </div>`;
}

/** How many of those who reached the step before did not reach this one; the largest of these numbers is marked. */
function stopped(users, most) {
  if (users === undefined || users < 0) return NONE;
  return users === most && most > 0 ? html`<span class="mark">${shown("count", users)}</span>` : shown("count", users);
}

function cancelledTold(samples) {
  const cancelled = samples?.find(SUBSCRIBERS, { status: "cancelled" }).value;
  return cancelled ? html`<p class="about">${`${shown("count", cancelled)} who have cancelled are not in the chart.`}</p>` : "";
}

function moneyTable(currencies, window, revenue, arpa, orders) {
  const rowOf = (currency) => {
    const kind = moneyIn(currency);
    const of = (samples, metric) => samples?.find(metric, { window, currency }) ?? {};
    const paid = of(orders, ORDER_VALUE);
    return html`
      <tr>
        <th scope="row">${currency}</th>
        <td class="number" data-of="revenue"><b>${bare(kind, of(revenue, REVENUE).value)}</b></td>
        <td class="number" data-of="per customer">${bare(kind, of(arpa, ARPA).value)}</td>
        <td class="number" data-of="per order">${bare(kind, paid.value)}</td>
        <td class="number soft" data-of="orders">${shown("count", paid.n)}</td>
      </tr>`;
  };
  return html`
    <div class="block">
      <h3>${term("Revenue by currency", REVENUE)}<span class="short">${windowName(window)}</span></h3>
      <table class="figures stacks" aria-label="Revenue by currency">
        <thead>
          <tr>
            <td></td><th scope="col">revenue</th><th scope="col">per customer</th><th scope="col">per order</th><th scope="col">orders</th>
          </tr>
        </thead>
        <tbody>${currencies.map(rowOf)}</tbody>
      </table>
      <p class="about">
        ${term("Per customer", ARPA)} (ARPA): revenue over the customers at the start of the window.
        ${term("Per order", ORDER_VALUE)}: before refunds.
      </p>
    </div>`;
}

/** An amount without the name of its currency, where that stands at the row. */
const bare = (currency, value) => shown(currency, value).replace(currency, "").trim();

/** Both lifetime values of a currency, each with the numbers that it is calculated from. */
function lifetimeValues(currency, last, day) {
  const money = moneyIn(currency);
  const arpa = last(ARPA)?.find(ARPA, { window: LTV_WINDOW, currency }) ?? {};
  const churn = last(CHURN)?.find(CHURN, { window: LTV_WINDOW }) ?? {};
  const simple = last(SIMPLE_LTV)?.find(SIMPLE_LTV, { currency }) ?? {};
  const historic = last(HISTORIC_LTV)?.find(HISTORIC_LTV, { currency }) ?? {};
  // The margin is no number of its own, but the only one of the three that is not told beside the value.
  const margin = simple.value === undefined || !arpa.value ? undefined : (simple.value * churn.value) / arpa.value;
  const ever = historic.value === undefined ? undefined : historic.value * historic.n;
  const row = (sign, name, value, about = "") => html`
    <tr class=${sign === "" ? "result" : "part"}>
      <th scope="row"><span class="name">${sign ? html`<span class="sign">${sign}</span>` : ""}<span>${name}</span></span></th>
      <td class="number">${sign === "" ? html`<b>${value}</b>` : value}${about ? html`<span class="note">${about}</span>` : ""}</td>
    </tr>`;
  const lost = churn.value === undefined ? "" : `${interval("share", churn.lower, churn.upper)}, of ${counted(churn.n, "customer")}`;
  return html`
    <div class="block">
      <h3>Lifetime value<span class="short">${`${currency}, as of ${dayText(day)}`}</span></h3>
      <table class="sum" aria-label="Lifetime value">
        <tbody>
          ${row("", term("Simple", SIMPLE_LTV), shown(money, simple.value), simple.value === undefined ? whyNot(arpa, churn) : "")}
          ${row("=", term("revenue per customer, 30 days", ARPA), shown(money, arpa.value))}
          ${row("×", "margin", shown("share", margin))}
          ${row("÷", term("customer churn, 30 days", CHURN), shown("share", churn.value), lost)}
          ${row("", term("Historic", HISTORIC_LTV), shown(money, historic.value))}
          ${row("=", "revenue of all times", shown(money, ever))}
          ${row("÷", "users who ever paid", shown("count", historic.n))}
        </tbody>
      </table>
    </div>`;
}

function whyNot(arpa, churn) {
  if (churn.value === undefined || arpa.value === undefined) return "no customers known 30 days ago";
  return churn.value === 0 ? "nobody was lost" : "no margin is known: setting gross_margin";
}
